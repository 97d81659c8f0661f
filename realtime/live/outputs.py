"""What a live session writes and shows: checked before it starts, opened as outlets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.privacy import Privacy
from qlumen.realtime.frames import Recordable
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.monitor_runner import Window
from qlumen.realtime.live.privacy_sink import PrivacyGuard
from qlumen.realtime.live.sink_runner import Note, Outlet, OutletRunner
from qlumen.realtime.live.threads import MODEL_NICENESS, WRITER_NICENESS
from qlumen.realtime.sinks.base import Sink, Taken
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sinks.recorder_on_request import RecorderOnRequest
from qlumen.realtime.sinks.snapshots import SnapshotOnRequest
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.view.live.feed import Feed, WebSink
from qlumen.realtime.view.live.figures import Figures
from qlumen.realtime.view.live.gallery import Gallery

if TYPE_CHECKING:
    from qlumen.realtime.sinks.recorder import LiveRecorder

TITLE = "qlumen - research tool, not a medical device"
EVENT_LINES = 250
GUARD_FRAMES = 8
WEB_FRAMES = 1


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a page in the browser knows of the session.

    Attributes:
        feed: where its pictures are taken from.
        figures, gallery: receive every frame.
    """

    feed: Feed
    figures: Figures
    gallery: Gallery


@dataclass(frozen=True, slots=True)
class LiveOutputs:
    """Where to write what; None leaves it out. `snapshots` is a folder, `recordings` the one
    for recordings begun on request; `view` takes pictures for browsers."""

    record: Path | None = None
    record_clean: Path | None = None
    stream: str | None = None
    events: Path | None = None
    snapshots: Path | None = None
    json: Path | None = None
    monitor: bool = False
    recordings: Path | None = None
    view: View | None = None

    def files(self) -> Iterator[tuple[str, Path]]:
        named = (
            ("--record", self.record), ("--record-clean", self.record_clean),
            ("--events", self.events), ("--json", self.json),
        )  # fmt: skip
        yield from ((name, path) for name, path in named if path)

    def folders(self) -> Iterator[tuple[str, Path]]:
        if self.snapshots:
            yield "--snapshots", self.snapshots
        if self.recordings:
            yield "--recordings", self.recordings


@dataclass(slots=True)
class Outlets:
    """Attributes:
    takers: receive every picture. listeners: the source's own frames only.
    runners: all that have a thread, in the order in which they are closed.
    recorders, streams: those of `runners` that record, and that send.
    recorder: records on request. watched: whether a page may show the pictures.
    """

    takers: list[OutletRunner | Window]
    listeners: list[OutletRunner[Recordable]]
    runners: list[OutletRunner]
    recorders: list[OutletRunner]
    streams: list[OutletRunner]
    window: Window | None
    snapshot: SnapshotOnRequest | None
    recorder: RecorderOnRequest | None
    watched: bool

    def recording(self) -> bool:
        asked_for = self.recorder is not None and self.recorder.path is not None
        return asked_for or any(runner.attached for runner in self.recorders)

    def everything(self) -> list[OutletRunner | Window]:
        return [*self.runners, *([self.window] if self.window else [])]

    def finish(self, timeout_s: float) -> None:
        """Close everything but the events, which get all frames they have been given."""
        for runner in self.runners:
            if runner in self.listeners:
                runner.drain(timeout_s)
            else:
                runner.close(timeout_s)

    def any_left(self) -> bool:
        """Whether there was nothing to show or write to begin with, or some of it still works.
        The guard and the snapshots are nothing by themselves."""
        wanted: list[OutletRunner] = [*self.recorders, *self.streams, *self.listeners]
        windows = [self.window] if self.window else []
        if self.watched or not (wanted or windows):
            return True
        return any(o.attached or o.reopens for o in wanted) or any(w.attached for w in windows)


def open_outlets(
    outputs: LiveOutputs,
    events: EventsWriter | None,
    info: SourceInfo,
    settings: Settings,
    latency: LatencyRecorder,
    note: Note,
    on_action: Callable[[Action], None],
    stack: ExitStack,
) -> Outlets:
    """Open everything that was asked for.

    Raises:
        QlumenError: one of them cannot be opened; those before it are closed by `stack`.
    """

    def run(outlet: Outlet[Taken]) -> OutletRunner[Taken]:
        runner = OutletRunner(outlet, latency, note)
        stack.callback(runner.close, settings.live.sink_close_s)
        return runner

    listeners = [run(_outlet("events", events, EVENT_LINES))] if events else []
    snapshot = _snapshot(outputs)
    recorder = _recorder_on_request(outputs, info, settings, note)
    recorders = [run(outlet) for outlet in _recorders(outputs, info, settings)]
    writers = [*recorders, *(run(o) for o in _others(outputs, snapshot, info, settings))]
    writers += [run(outlet) for outlet in _on_page(outputs, recorder, settings)]
    guarded, guards = _guarded(writers, settings, run, watched=outputs.view is not None)
    window = _window(outputs, settings, latency, note, on_action, stack)
    return Outlets(
        takers=[*([window] if window else []), *guarded],
        listeners=listeners,
        runners=[*guards, *writers, *listeners],
        recorders=recorders,
        streams=[writer for writer in writers if writer.reopens],
        window=window,
        snapshot=snapshot,
        recorder=recorder,
        watched=outputs.view is not None,
    )


def _live_recorder(info: SourceInfo, settings: Settings) -> "partial[LiveRecorder]":
    from qlumen.realtime.sinks.recorder import LiveRecorder

    chosen = settings.recorder
    return partial(
        LiveRecorder,
        info=info,
        crf=chosen.crf,
        preset=chosen.live_preset,
        threads=chosen.threads,
        fragment_s=chosen.fragment_s,
    )


def _recorders(outputs: LiveOutputs, info: SourceInfo, settings: Settings) -> Iterator[Outlet]:
    recorder = _live_recorder(info, settings)
    frames = settings.live.sink_frames
    if outputs.record:
        yield Outlet("recorder", partial(recorder, outputs.record), frames)
    if outputs.record_clean:
        yield Outlet("clean_recorder", partial(recorder, outputs.record_clean, clean=True), frames)


def _others(
    outputs: LiveOutputs, snapshot: Sink | None, info: SourceInfo, settings: Settings
) -> Iterator[Outlet]:
    if outputs.stream:
        from qlumen.realtime.sinks.streamer import Streamer

        options = settings.stream.model_dump()
        opener = partial(Streamer, outputs.stream, info, **options)
        yield Outlet("stream", opener, settings.live.sink_frames, reopens=True)
    if snapshot:
        yield _outlet("snapshots", snapshot, settings.live.sink_frames)


def _recorder_on_request(
    outputs: LiveOutputs, info: SourceInfo, settings: Settings, note: Note
) -> RecorderOnRequest | None:
    if outputs.recordings is None:
        return None
    return RecorderOnRequest(outputs.recordings, _live_recorder(info, settings), note)


def _on_page(outputs: LiveOutputs, recorder: Sink | None, settings: Settings) -> Iterator[Outlet]:
    if recorder:
        yield _outlet("recorder_on_request", recorder, settings.live.sink_frames)
    if outputs.view:
        view, chosen = outputs.view, settings.view
        sink = WebSink(
            view.feed,
            width_px=chosen.width_px,
            jpeg_quality=chosen.jpeg_quality,
            listeners=(view.figures, view.gallery),
        )
        yield Outlet("view", lambda: sink, WEB_FRAMES, niceness=MODEL_NICENESS)


def _guarded(
    writers: Sequence[OutletRunner],
    settings: Settings,
    run: Callable[[Outlet], OutletRunner],
    *,
    watched: bool,
) -> tuple[list[OutletRunner], list[OutletRunner]]:
    """What the display hands pictures to instead of the writers, if those must be masked."""
    privacy = Privacy(**settings.privacy.model_dump())
    if not (privacy.active and writers):
        return list(writers), []
    sink = PrivacyGuard(privacy, settings, writers)
    niceness = MODEL_NICENESS if watched else WRITER_NICENESS
    guard = run(Outlet("privacy", lambda: sink, GUARD_FRAMES, niceness=niceness))
    return [guard], [guard]


def _outlet(name: str, sink: Sink[Taken], frames: int) -> Outlet[Taken]:
    return Outlet(name, lambda: sink, frames)


def _snapshot(outputs: LiveOutputs) -> SnapshotOnRequest | None:
    return SnapshotOnRequest(outputs.snapshots) if outputs.snapshots else None


def _window(
    outputs: LiveOutputs,
    settings: Settings,
    latency: LatencyRecorder,
    note: Note,
    on_action: Callable[[Action], None],
    stack: ExitStack,
) -> Window | None:
    if not outputs.monitor:
        return None
    from qlumen.realtime.sinks.monitor import Monitor

    monitor = Monitor(TITLE, on_action=on_action, **settings.monitor.model_dump())
    stack.callback(monitor.close)
    return Window(monitor, latency, note)
