"""Replays one recording from its first frame to its last, and writes the wanted outputs."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rich.console import Console

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.replay.allocator import keep_freed_memory
from qlumen.realtime.replay.outputs import Outputs, check_outputs, open_sinks
from qlumen.realtime.replay.pipeline import Pipeline, warm_up
from qlumen.realtime.replay.summary import ReplaySummary, summarise
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.choose import input_files, open_source
from qlumen.system.exits import INTERRUPTED
from qlumen.system.progress import progress_bar


def replay(
    location: str,
    outputs: Outputs,
    settings: Settings,
    limit: int | None = None,
    console: Console | None = None,
    *,
    segmenter: Segmenter | None = None,
    more: Sequence[tuple[str, Sink]] = (),
) -> ReplaySummary:
    """Process a source to its end, or `limit` frames, and write the wanted outputs.

    Args:
        segmenter: opened network of these settings, which stays open; None: one of its own.
        more: names and sinks beside those of `outputs`; closed at the end.

    Raises:
        QlumenError: input, settings or outputs are bad; raised before any frame is written.
            A later error is in the summary, and the files written by then can be read.
    """
    console = console or Console(stderr=True)
    check_outputs(input_files(location, settings.model.bundle), outputs)
    keep_freed_memory()
    bundle = read_bundle(bundle_folder(settings))
    latency = LatencyRecorder()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(location, settings))
        if segmenter is None:
            segmenter = Segmenter.open(bundle, settings)
            stack.callback(segmenter.close)
        analysis = FrameAnalysis(segmenter, settings, related=source.info.sequence, latency=latency)
        overlay = Overlay(**settings.overlay.model_dump())
        with console.status("preparing the engine and the kernels"):
            warm_up(analysis, overlay, source.info)
        sinks = [*open_sinks(outputs, source.info, settings, stack), *more]
        counts = [count for count in (source.info.frame_count, limit) if count is not None]
        expected = min(counts, default=None)
        show = stack.enter_context(progress_bar("replay", expected, "frames", console))
        queue_frames = settings.pipeline.queue_frames
        pipeline = Pipeline(
            source, analysis, overlay, sinks, latency, queue_frames=queue_frames, on_frame=show
        )
        with _stop_on_signals(pipeline):
            outcome = pipeline.run(limit)
        summary = summarise(
            source, expected, outcome, latency,
            engine=segmenter.engine, bundle=bundle, settings=settings,
            sink_notes=[note for _, sink in sinks for note in sink.notes],
        )  # fmt: skip
    return summary.write_json(outputs.json) if outputs.json else summary


@contextmanager
def _stop_on_signals(pipeline: Pipeline) -> Iterator[None]:
    """Stop reading at the first Ctrl-C or SIGTERM, and finish frames on their way.

    The second one ends the process immediately. Events are then whole up to their last line, and
    the recording can be played as the recorder's `.part` file.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        if pipeline.stopping:
            os._exit(INTERRUPTED)
        pipeline.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
