"""A live session: source, model, display and outlets put together, run, and taken apart."""

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count

import cv2
from rich.console import Console

from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.alarm import AlarmCommand
from qlumen.realtime.live.annotator import Annotator
from qlumen.realtime.live.control import Control
from qlumen.realtime.live.display import Display
from qlumen.realtime.live.event_log import Journal
from qlumen.realtime.live.health import Meters, recorded_files
from qlumen.realtime.live.latest import Board
from qlumen.realtime.live.outputs import LiveOutputs, open_outlets
from qlumen.realtime.live.pipeline import LivePipeline
from qlumen.realtime.live.summary import LiveSummary, summarise
from qlumen.realtime.live.threads import SWITCH_SECONDS
from qlumen.realtime.live.watchdog import Watchdog
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.choose import open_live_source
from qlumen.system.closing import Closing

ASSUMED_SIZE = (1920, 1080)
"""To warm up for, where the source does not tell."""
PUMP_SECONDS = 0.1

MakeAnnotator = Callable[
    [Bundle, Callable[[], Settings], LatencyRecorder, Iterator[int]], Annotator
]


class LiveSession(Closing):
    """Opens everything, so that whatever is wrong with what was asked for is raised before a
    picture is shown; runs once.

    Args:
        make_annotator: makes the model's path, anew after each failure.

    Raises:
        QlumenError: source, bundle, settings or an output cannot be used.
    """

    def __init__(
        self,
        location: str,
        outputs: LiveOutputs,
        settings: Settings,
        console: Console,
        make_annotator: MakeAnnotator = Annotator,
    ) -> None:
        self._make_annotator = make_annotator
        self._bundle = read_bundle(bundle_folder(settings))
        self._latency = LatencyRecorder()
        self._track_numbers = count(1)
        self._board = Board()
        self._inbox: DroppingQueue[Frame] = DroppingQueue()
        self._reload: Callable[[], None] | None = None
        with ExitStack() as stack:
            self._open(location, outputs, settings, console, stack)
            self._closing = stack.pop_all()

    def meters(self, outputs: LiveOutputs) -> Meters:
        """What `--metrics` reports of this session."""
        return Meters(
            self._source,
            self._pipeline,
            self._latency,
            self._outlets,
            self._watchdog,
            recorded_files(outputs),
        )

    def stop(self) -> None:
        """End the session. Safe in a signal handler."""
        self._pipeline.stop()

    def reload(self, read: Callable[[], Settings]) -> None:
        """Read the settings again soon, and take over what may change. Signal-safe."""
        self._reload = partial(self.control.reload, read)

    @property
    def source_name(self) -> str:
        return self._source.info.name

    @property
    def recording(self) -> bool:
        return self._outlets.recording()

    @property
    def can_record(self) -> bool:
        """Whether `toggle_recording` does anything."""
        return self._outlets.recorder is not None

    @property
    def can_take_snapshots(self) -> bool:
        return self._outlets.snapshot is not None

    def toggle_recording(self) -> None:
        """Begin or end a recording; needs `LiveOutputs.recordings`. Safe in any thread."""
        recorder = self._outlets.recorder
        if recorder is None:
            self._note("recording_refused", reason="no folder for recordings")
        else:
            recorder.toggle()

    def drops(self) -> dict[str, int]:
        """Frames lost so far, by cause."""
        drops = Counter(self._source.drops) + self._pipeline.tally.drops
        for outlet in self._outlets.everything():
            drops.update(outlet.drops)
        return {cause: count for cause, count in drops.items() if count}

    def run(self, seconds: float | None = None) -> LiveSummary:
        """Show video until the source is over, `stop` is called or the time is up."""
        self._note("start", source=self._source.info.name, bundle=self._bundle.sha256,
                   config=self.control.settings().sha256())  # fmt: skip
        for runner in self._outlets.runners:
            runner.start()
        cpu_s = time.process_time()
        outcome = self._pipeline.run(seconds, self._pump)
        cpu_s = time.process_time() - cpu_s
        limit_s = self.control.settings().live.sink_close_s
        self._outlets.finish(limit_s)
        self._watchdog.close()
        summary = summarise(
            outcome,
            cpu_s,
            self._source,
            self._pipeline,
            self._latency,
            self._outlets,
            self._watchdog,
            self._bundle,
            self.control.settings(),
        )
        self._note("stop", frames=summary.arrived, shown=summary.shown, drops=summary.drops)
        self._note.flush(limit_s)
        self._closing.close()
        gc.unfreeze()
        return replace(summary, events_sha256=self._note.last_hash)

    def close(self) -> None:
        self._closing.close()

    def _open(
        self,
        location: str,
        outputs: LiveOutputs,
        settings: Settings,
        console: Console,
        stack: ExitStack,
    ) -> None:
        self._source = stack.enter_context(open_live_source(location, settings))
        events = EventsWriter(outputs.events, append=True) if outputs.events else None
        self._note = stack.enter_context(Journal(events, console))
        self._alarm_command = stack.enter_context(AlarmCommand(self._note))
        self.control = Control(self._bundle, settings, self._note, self._actions())
        info = self._source.info
        self._outlets = open_outlets(
            outputs, events, info, settings, self._latency, self._note, self.control.act, stack
        )
        self._watchdog = Watchdog(
            self._annotator, self._inbox, self._board.publish, self._note, settings.watchdog
        )
        self._display = Display(
            self._board,
            self.control,
            self._latency,
            ai_runs=lambda: self._watchdog.running,
            recording=self._outlets.recording,
            on_alarm=self._alarm,
            note=self._note,
        )
        stack.callback(self._display.close)
        with console.status("preparing the engine and the kernels"):
            stack.callback(self._watchdog.close)
            self._watchdog.start()
            self._display.warm_up(_size(info))
        self._pipeline = LivePipeline(
            self._source,
            self._inbox,
            self._board,
            self._display,
            self._outlets.takers,
            self._outlets.listeners,
            self._latency,
            self._note,
            self.control.settings,
        )
        _steady_the_interpreter()

    def _annotator(self) -> Annotator:
        annotator = self._make_annotator(
            self._bundle, self.control.settings, self._latency, self._track_numbers
        )
        annotator.warm_up(_size(self._source.info))
        return annotator

    def _actions(self) -> dict[Action, Callable[[], None]]:
        return {
            Action.SNAPSHOT: self._snapshot,
            Action.MARK: lambda: None,
            Action.RESTART_AI: lambda: self._watchdog.restart(),
            Action.QUIT: self.stop,
        }

    def _snapshot(self) -> None:
        if self._outlets.snapshot is None:
            self._note("snapshot_refused", reason="no folder; start with --snapshots DIR")
        else:
            self._outlets.snapshot.request()

    def _pump(self) -> bool:
        """Serve window, reload and outlets; False when nothing is left that takes pictures."""
        reload, self._reload = self._reload, None
        if reload:
            reload()
        window = self._outlets.window
        if window and window.attached:
            window.turn()
        else:
            time.sleep(PUMP_SECONDS)
        return self._outlets.any_left()

    def _alarm(self, number: int) -> None:
        self._note("alarm", track=number)
        self._alarm_command.run(self.control.settings().alarm.command)


def _size(info: SourceInfo) -> tuple[int, int]:
    return (info.width or ASSUMED_SIZE[0], info.height or ASSUMED_SIZE[1])


def _steady_the_interpreter() -> None:
    """Keep the interpreter from holding up the video: short turns for threads that compute
    in Python, no collector over all that was loaded, no second thread pool beside ours."""
    sys.setswitchinterval(SWITCH_SECONDS)
    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()
