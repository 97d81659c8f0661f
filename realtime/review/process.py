"""Makes a review of a recording with one run of the network, like a replay."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from qlumen.errors import ConfigError, NoFramesError
from qlumen.networks.bundle import CARD, Bundle, Thresholds, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.replay.pipeline import Pipeline, warm_up
from qlumen.realtime.replay.summary import ReplaySummary, summarise
from qlumen.realtime.review.intake.limits import BoundedSource, Limits
from qlumen.realtime.review.recording import hash_recording, open_recording, stored_location
from qlumen.realtime.review.records import FORMAT, Manifest, ModelRecord, SourceRecord
from qlumen.realtime.review.writer import ReviewWriter
from qlumen.realtime.segmentation.segmenter import Segmenter, thresholds
from qlumen.realtime.sources.base import Source
from qlumen.system.locations import printable, show_location
from qlumen.system.machine import usable_cores

Progress = Callable[[int, int | None], None]


def process(
    location: str,
    folder: Path,
    settings: Settings,
    limits: Limits | None = None,
    on_frame: Progress = lambda done, expected: None,
    *,
    name: str | None = None,
    segmenter: Segmenter | None = None,
) -> ReplaySummary:
    """Run the network over a recording and write a review to `folder`.

    A recording that ends early gives a complete review of the frames before. The summary's
    `error` then holds the reason.

    Args:
        location: source of a replay, or a single image.
        folder: new or empty folder.
        limits: limits of the recording; None for no limits.
        on_frame: called with the number of frames done and expected.
        name: name of the recording to show, if the location has another one.
        segmenter: opened network of these settings, which stays open; None: one of its own.

    Raises:
        QlumenError: input, settings or outputs are bad, or no frame could be processed.
    """
    bundle = read_bundle(bundle_folder(settings))
    latency = LatencyRecorder()
    with ExitStack() as stack:
        source: Source = stack.enter_context(open_recording(location, settings))
        if limits is not None:
            source = BoundedSource(source, limits)
        if source.info.sequence and not settings.analysis.temporal:
            raise ConfigError(
                "analysis.temporal=false judges each frame alone, but a review follows lesions "
                "over time; leave the setting out, or use `qlumen replay`"
            )
        if settings.analysis.steps:
            raise ConfigError(
                "analysis.steps changes findings as they are made, but a review finds them again "
                "by other thresholds; leave the setting out, or use `qlumen replay`"
            )
        if segmenter is None:
            segmenter = Segmenter.open(bundle, settings)
            stack.callback(segmenter.close)
        analysis = FrameAnalysis(segmenter, settings, related=source.info.sequence, latency=latency)
        overlay = Overlay(**settings.overlay.model_dump())
        warm_up(analysis, overlay, source.info)
        writer = ReviewWriter(folder, settings, source.info.pixel_aspect)
        stack.callback(writer.close)
        expected = source.info.frame_count
        pipeline = Pipeline(
            source, analysis, overlay, [("review", writer)], latency,
            queue_frames=settings.pipeline.queue_frames,
            on_frame=lambda done: on_frame(done, expected),
        )  # fmt: skip
        outcome = pipeline.run()
        if not outcome.frames:
            raise outcome.error or NoFramesError(
                f"{show_location(location)} has no frame; use another recording"
            )
        summary = summarise(
            source, expected, outcome, latency,
            engine=segmenter.engine, bundle=bundle, settings=settings,
        )  # fmt: skip
        writer.finish(_manifest(location, name, source, segmenter, bundle, settings, summary))
    return summary


def _manifest(
    location: str,
    name: str | None,
    source: Source,
    segmenter: Segmenter,
    bundle: Bundle,
    settings: Settings,
    summary: ReplaySummary,
) -> Manifest:
    return Manifest(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        qlumen=version("qlumen"),
        source=_describe_source(location, name, source),
        model=_describe_model(bundle),
        thresholds=Thresholds(**thresholds(bundle, settings)),
        fit=bundle.manifest.input.fit,
        map_size=segmenter.engine.output_size,
        settings=_without_locations(settings).model_dump(mode="json"),
        config_sha256=settings.sha256(),
        summary=asdict(summary),
        cores=usable_cores(),
    )


def _describe_source(location: str, name: str | None, source: Source) -> SourceRecord:
    size, sha256 = hash_recording(location)
    info = source.info
    return SourceRecord(
        name=printable(name or (info.name if "://" in info.name else Path(info.name).name)),
        location=stored_location(location),
        bytes=size,
        sha256=sha256,
        fps=info.fps and f"{info.fps.numerator}/{info.fps.denominator}",
        frames_expected=info.frame_count,
        sequence=info.sequence,
        notes=tuple(map(printable, info.notes)),
        pixel_aspect="{}/{}".format(*info.pixel_aspect.as_integer_ratio()),
    )


def _without_locations(settings: Settings) -> Settings:
    """Return settings without addresses and options of sources, which may hold passwords."""
    view = settings.view.model_copy(update={"sources": ()})
    source = settings.source.model_copy(update={"options": {}})
    return settings.model_copy(update={"view": view, "source": source})


def _describe_model(bundle: Bundle) -> ModelRecord:
    manifest = bundle.manifest
    card = bundle.folder / CARD
    return ModelRecord(
        name=manifest.name,
        version=manifest.version,
        sha256=bundle.sha256,
        created=manifest.created,
        circuit=manifest.quantum.circuit if manifest.quantum else None,
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
    )
