"""Opens, runs and closes a live session: source, model, display and sinks."""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
from qlumen.realtime.live.alarm import Alarms
from qlumen.realtime.live.annotator import Annotator, LatestAnnotations
from qlumen.realtime.live.control import Control
from qlumen.realtime.live.counters import LiveCounters
from qlumen.realtime.live.display import Display
from qlumen.realtime.live.event_log import EventLog
from qlumen.realtime.live.outputs import LiveOutputs, OpenRunner, open_live_sinks
from qlumen.realtime.live.pipeline import LivePipeline
from qlumen.realtime.live.status import StatusReader
from qlumen.realtime.live.summary import LiveSummary, summarise
from qlumen.realtime.live.watchdog import NextFrame, Watchdog, take_newest
from qlumen.realtime.pixels import planes
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sources.choose import open_live_source
from qlumen.system.closing import Closing
from qlumen.system.threads import SWITCH_SECONDS

ASSUMED_SIZE = (1920, 1080)
"""Frame size to warm up for where the source does not report one."""
PUMP_SECONDS = 0.1

MakeAnnotator = Callable[
    [Bundle, Callable[[], Settings], LatencyRecorder, Iterator[int]], Annotator
]


class LiveSession(Closing):
    """Opens everything, so that an error is raised before a frame is shown. It runs once.

    The video does not wait until the kernels of the analysis are compiled: until then the AI is
    off. With `live.mode` synchronous it waits.

    Args:
        runners: openers of sinks beside those of `outputs`, such as a page's.
        make_annotator: maker of the annotator, called again after each failure.
        next_frame: taker of the frames to judge, which may make sources wait for each other.

    Attributes:
        control: settings that may change while it runs.
        latency: durations by stage.
        status: reader of the status, safe in any thread.
        pixel_aspect: shape of the source's pixels, see `SourceInfo`.

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
        runners: Sequence[OpenRunner] = (),
        next_frame: NextFrame = take_newest,
    ) -> None:
        self._make_annotator, self._next_frame = make_annotator, next_frame
        self._bundle = read_bundle(bundle_folder(settings))
        self.latency = LatencyRecorder()
        self._track_numbers = count(1)
        self._reload: Callable[[], None] | None = None
        with ExitStack() as stack:
            self._open(location, outputs, settings, console, runners, stack)
            self._closing = stack.pop_all()

    def stop(self) -> None:
        """End the session. A signal handler may call it."""
        self._pipeline.stop()

    def reload(self, read: Callable[[], Settings]) -> None:
        """Apply changed settings soon. A signal handler may call it."""
        self._reload = partial(self.control.reload, read)

    def act(self, action: Action) -> None:
        """Do what a key or a browser asks for. Any thread may call it."""
        match action:
            case Action.TOGGLE_OVERLAY:
                self.control.toggle_overlay()
            case Action.MORE_SENSITIVE:
                self.control.step_sensitivity(1)
            case Action.QUIETER:
                self.control.step_sensitivity(-1)
            case _:
                self._note("action", action=action.value)
        if action is Action.SNAPSHOT:
            if self._sinks.snapshot is None:
                self._note("snapshot_refused", reason="no folder; start with --snapshots DIR")
            else:
                self._sinks.snapshot.request()
        elif action is Action.RESTART_AI:
            self._watchdog.restart()
        elif action is Action.QUIT:
            self.stop()

    def toggle_recording(self) -> None:
        """Begin or end a recording in `LiveOutputs.recordings`. Any thread may call it."""
        recorder = self._sinks.recorder
        if recorder is None:
            self._note("recording_refused", reason="no folder; start with --recordings DIR")
        else:
            recorder.toggle()

    def run(self, seconds: float | None = None) -> LiveSummary:
        """Show video until the source ends, `stop` is called or the time is up."""
        self._note("start", source=self.status().source, bundle=self._bundle.sha256,
                   config=self.control.settings().sha256())  # fmt: skip
        for stage in self._sinks.threaded:
            stage.start()
        outcome = self._pipeline.run(seconds, self._pump)
        limit_s = self.control.settings().live.sink_close_s
        self._sinks.finish(limit_s)
        self._watchdog.close()
        status, settings = self.status(), self.control.settings()
        summary = summarise(outcome, status, self.latency, self._bundle, settings)
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
        runners: Sequence[OpenRunner],
        stack: ExitStack,
    ) -> None:
        source = stack.enter_context(open_live_source(location, settings))
        info = source.info
        self.pixel_aspect = info.pixel_aspect
        self._frame_size = (info.width or ASSUMED_SIZE[0], info.height or ASSUMED_SIZE[1])
        events = EventsWriter(outputs.events, append=True) if outputs.events else None
        self._note = note = stack.enter_context(EventLog(events, console))
        alarms = stack.enter_context(Alarms(note))
        self.control = Control(self._bundle, settings, note)
        self._sinks = open_live_sinks(
            outputs, runners, info, settings, self.latency, note, self.act, stack
        )
        inbox: DroppingQueue[Frame] = DroppingQueue()
        annotations, counters = LatestAnnotations(), LiveCounters(self.latency)
        self._watchdog = Watchdog(
            self._open_annotator, inbox, annotations.publish, note, settings.watchdog,
            self._warm_up, self._next_frame,
        )  # fmt: skip
        self.status = StatusReader(source, counters, self._sinks, self._watchdog)
        self._display = display = Display(
            annotations, self.control, self.latency, self.status, alarms, note
        )
        with console.status("preparing the engine and the kernels"):
            planes.warm_up()  # the picture itself needs these kernels
            stack.callback(self._watchdog.close)
            self._watchdog.start(warm=settings.live.mode == "synchronous")
        self._pipeline = LivePipeline(
            source,
            inbox,
            annotations,
            display,
            self._sinks.first,
            [self._sinks.events] if self._sinks.events else [],
            counters,
            note,
            self.control.settings,
        )
        _steady_the_interpreter()

    def _open_annotator(self) -> Annotator:
        return self._make_annotator(
            self._bundle, self.control.settings, self.latency, self._track_numbers
        )

    def _warm_up(self, annotator: Annotator) -> None:
        """Make the annotator and the display ready for findings. The video may run meanwhile."""
        annotator.warm_up(self._frame_size)
        self._display.warm_up(self._frame_size)
        gc.freeze()  # as in `_steady_the_interpreter`, without a collection that stops the video

    def _pump(self) -> bool:
        """Serve the window and reload settings. Return False when no output is left."""
        reload, self._reload = self._reload, None
        if reload:
            reload()
        monitor = self._sinks.monitor
        if monitor and monitor.attached:
            monitor.turn()
        else:
            time.sleep(PUMP_SECONDS)
        return self._sinks.any_left()


def _steady_the_interpreter() -> None:
    """Keep the interpreter from delaying the video.

    Python threads switch often, the collector skips loaded objects, OpenCV has no thread pool.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()
