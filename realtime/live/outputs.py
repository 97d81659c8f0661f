"""Describes what a live session writes and shows, and opens it as sinks."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qlumen.errors import UsageError
from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.privacy import Privacy
from qlumen.realtime.frames import FrameResult, Recordable
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.event_log import EventLog
from qlumen.realtime.live.privacy_stage import PrivacyStage
from qlumen.realtime.live.stage import MonitorRunner, SinkRunner, Stage, ThreadedStage
from qlumen.realtime.sinks.base import Sink, Taken, make_folder
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sinks.images import SnapshotOnRequest
from qlumen.realtime.sinks.monitor import Monitor
from qlumen.realtime.sinks.recorder import LiveRecorder
from qlumen.realtime.sinks.recorder_on_request import RecorderOnRequest
from qlumen.realtime.sinks.streamer import Streamer
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.locations import show_location
from qlumen.system.plugins import SINKS, find_plugin, find_plugins, load_plugin
from qlumen.system.threads import MODEL_NICENESS, WRITER_NICENESS

TITLE = "qlumen - research tool, not a medical device"
EVENT_LINES = 250
RECORDER, CLEAN_RECORDER, ON_REQUEST = "recorder", "clean_recorder", "recorder_on_request"

OpenRunner = Callable[[LatencyRecorder, Note], SinkRunner[Taken]]
"""Opens a sink with its runner; raises a QlumenError if the sink cannot be opened."""


@dataclass(frozen=True, slots=True)
class LiveOutputs:
    """Names what to write and where; None leaves it out.

    `snapshots` is a folder, and `recordings` is the folder for recordings begun on request. `send`
    names receivers by URL; plugins of `qlumen.sinks` open them.
    """

    record: Path | None = None
    record_clean: Path | None = None
    stream: str | None = None
    events: Path | None = None
    snapshots: Path | None = None
    json: Path | None = None
    monitor: bool = False
    recordings: Path | None = None
    send: tuple[str, ...] = ()

    def files(self) -> Iterator[tuple[str, Path]]:
        named = (
            ("--record", self.record), ("--record-clean", self.record_clean),
            ("--events", self.events), ("--json", self.json),
        )  # fmt: skip
        yield from ((name, path) for name, path in named if path)

    def folders(self) -> Iterator[tuple[str, Path]]:
        named = (("--snapshots", self.snapshots), ("--recordings", self.recordings))
        yield from ((name, path) for name, path in named if path)


@dataclass(frozen=True, slots=True)
class LiveSinks:
    """Holds the sinks of a session, each behind a queue.

    Attributes:
        first: receivers of every frame from the display: the monitor, and either the other sinks
            or the privacy stage before them.
        threaded: all stages that have a thread, in the order in which they are closed.
        monitor: window with every frame unmasked, in the main thread.
        events: writer of the source's own frames, without images; one of `threaded`.
        recorders, streams: stages of `threaded` that record, and that send.
        snapshot, recorder: sinks that store a frame, and that record, on request.
        files: recordings that run from the start, by sink.
        watched: whether a page may show the frames.
    """

    first: Sequence[Stage]
    threaded: Sequence[ThreadedStage[Any]]
    monitor: MonitorRunner | None
    events: SinkRunner[Recordable] | None
    recorders: Sequence[SinkRunner]
    streams: Sequence[SinkRunner]
    snapshot: SnapshotOnRequest | None
    recorder: RecorderOnRequest | None
    files: Mapping[str, Path]
    watched: bool

    @property
    def recording(self) -> bool:
        """Check whether a recording is being written."""
        on_request = self.recorder is not None and self.recorder.path is not None
        return on_request or any(runner.attached for runner in self.recorders)

    def recordings(self) -> dict[str, Path]:
        """Return the recordings being written now, by sink, also one begun on request."""
        requested = self.recorder.path if self.recorder else None
        return dict(self.files) | ({ON_REQUEST: requested} if requested else {})

    def stages(self) -> list[Stage[Any]]:
        """Return all that take frames: the sinks, and the privacy stage where there is one."""
        return [*self.threaded, *([self.monitor] if self.monitor else [])]

    def finish(self, timeout_s: float) -> None:
        """Close everything except the events. Those stay open and write all frames they have."""
        for stage in self.threaded:
            if stage is self.events:
                stage.drain(timeout_s)
            else:
                stage.close(timeout_s)

    def any_left(self) -> bool:
        """Check whether an output still works, or no output was asked for.

        The privacy stage, snapshots and recordings on request do not count.
        """
        wanted: list[SinkRunner[Any]] = [*self.recorders, *self.streams]
        wanted += [self.events] if self.events else []
        if self.watched or not (wanted or self.monitor):
            return True
        shown = self.monitor is not None and self.monitor.attached
        return shown or any(runner.attached or runner.reopens for runner in wanted)


def open_live_sinks(
    outputs: LiveOutputs,
    runners: Sequence[OpenRunner],
    info: SourceInfo,
    settings: Settings,
    latency: LatencyRecorder,
    log: EventLog,
    on_action: Callable[[Action], None],
    stack: ExitStack,
) -> LiveSinks:
    """Open everything that was asked for.

    Args:
        runners: openers of further sinks, such as a page's.
        on_action: receiver of the actions that keys of the monitor ask for.

    Raises:
        QlumenError: a sink cannot be opened; `stack` closes those before it.
    """

    def run(open_runner: OpenRunner[Taken]) -> SinkRunner[Taken]:
        runner = open_runner(latency, log)
        stack.callback(runner.close, settings.live.sink_close_s)
        return runner

    frames = settings.live.sink_frames
    events = run(_run_open_sink("events", log.file, EVENT_LINES)) if log.file else None
    aspect = info.pixel_aspect
    snapshot = (
        SnapshotOnRequest(outputs.snapshots, pixel_aspect=aspect) if outputs.snapshots else None
    )
    open_recorder = _recorder_opener(info, settings)
    recorder = None
    if outputs.recordings:
        make_folder(outputs.recordings)
        recorder = RecorderOnRequest(outputs.recordings, open_recorder, log)
    given = {RECORDER: outputs.record, CLEAN_RECORDER: outputs.record_clean}
    files = {name: path for name, path in given.items() if path}
    recorders = [
        run(partial(SinkRunner, name, partial(open_recorder, path, clean=name == CLEAN_RECORDER),
                    frames=frames))
        for name, path in files.items()
    ]  # fmt: skip
    streams = []
    if outputs.stream:
        if not hasattr(signal, "alarm"):
            raise UsageError("--stream needs a POSIX system (Linux, macOS); leave it out here")
        opener = partial(Streamer, outputs.stream, info, **settings.stream.model_dump())
        streams = [run(partial(SinkRunner, "stream", opener, frames=frames, reopens=True))]
    senders = [run(opener) for opener in _sender_openers(outputs.send, info, frames)]
    others = [run(_run_open_sink("snapshots", snapshot, frames))] if snapshot else []
    others += [run(_run_open_sink(ON_REQUEST, recorder, frames))] if recorder else []
    image_sinks = [*recorders, *streams, *senders, *others, *(run(each) for each in runners)]
    masks = []
    privacy = Privacy(**settings.privacy.model_dump())
    if privacy.active and image_sinks:
        niceness = MODEL_NICENESS if runners else WRITER_NICENESS
        masks = [PrivacyStage(privacy, settings, image_sinks, latency, log, niceness=niceness)]
        stack.callback(masks[0].close, settings.live.sink_close_s)
    monitor = None
    if outputs.monitor:
        window = Monitor(
            TITLE,
            on_action=on_action,
            pixel_aspect=float(aspect),
            **settings.monitor.model_dump(),
        )
        stack.callback(window.close)
        monitor = MonitorRunner(window, latency, log)
    return LiveSinks(
        first=[*([monitor] if monitor else []), *(masks or image_sinks)],
        threaded=[*masks, *image_sinks, *([events] if events else [])],
        monitor=monitor,
        events=events,
        recorders=recorders,
        streams=streams,
        snapshot=snapshot,
        recorder=recorder,
        files=files,
        watched=bool(runners),
    )


def _run_open_sink(name: str, sink: Sink[Taken], frames: int) -> OpenRunner[Taken]:
    """Return an opener that runs a sink which is open already."""
    return partial(SinkRunner, name, lambda: sink, frames=frames)


def _sender_openers(
    urls: Sequence[str], info: SourceInfo, frames: int
) -> Iterator[OpenRunner[FrameResult]]:
    """Yield an opener for each receiver; sinks of one scheme are numbered."""
    used: Counter[str] = Counter()
    for url in urls:
        point = find_plugin(SINKS, url)
        if point is None:
            raise UsageError(
                f"--send {show_location(url)}: no plugin sends there; give a URL that begins with "
                f"{', '.join(sorted(find_plugins(SINKS)))}"
            )
        used[point.name] += 1
        name = point.name + (f"_{used[point.name]}" if used[point.name] > 1 else "")
        yield partial(_run_sender, name, load_plugin(point), url, info, frames)


def _run_sender(
    name: str,
    make: Callable[[str, SourceInfo, Note], Sink],
    url: str,
    info: SourceInfo,
    frames: int,
    latency: LatencyRecorder,
    note: Note,
) -> SinkRunner:
    return SinkRunner(name, partial(make, url, info, note), latency, note, frames=frames,
                      reopens=True)  # fmt: skip


def _recorder_opener(info: SourceInfo, settings: Settings) -> partial[LiveRecorder]:
    chosen = settings.recorder
    return partial(
        LiveRecorder,
        info=info,
        crf=chosen.crf,
        preset=chosen.live_preset,
        threads=chosen.threads,
        fragment_s=chosen.fragment_s,
    )
