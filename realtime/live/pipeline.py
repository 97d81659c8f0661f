"""Runs the live video path. A frame never waits for the model or for an output.

    source -> grabber -> [frames] -> display --+--> [] -> monitor
                                        ^      +--> [] -> privacy --+--> [] -> sink
                                        |      |                    +--> [] -> sink
                                        |      +--> [] -> events, without images
                                        |      +--> [newest] -> model (watched)
                                        |                         |
                                        +--- latest annotations --+

The grabber begins when the display has its font. The display draws each frame with the latest
annotation and hands it on, last to the model, which would take the interpreter from it. In the mode
`synchronous` the model has it first, as the display waits for it. Each receiver has a queue and a
thread of its own, and never makes the display wait. The privacy stage masks each frame once, for
all that write or send it.
If nothing must be masked, there is no such stage, and the display hands frames to the sinks. The
monitor shows frames unmasked. Lost frames are counted by cause: `model_busy` for frames that the
model did not see, `display_late` for frames that were not shown.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event

from qlumen.errors import describe
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, FrameResult, Recordable
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.live.annotator import LatestAnnotations
from qlumen.realtime.live.counters import DISPLAY_LATE, MODEL_BUSY, LiveCounters
from qlumen.realtime.live.display import Display
from qlumen.realtime.live.stage import Stage
from qlumen.realtime.overlay.status import load_font
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sources.base import LiveSource, SignalLost
from qlumen.system.threads import raise_priority, start

DISPLAY_FRAMES = 8
"""Frames that may wait for the display: a third of a second at 25 frames/s."""
DRAWING_SECONDS = 0.005
"""Longest time for which the grabber rests while a frame is drawn. Without this a source that makes
its frames here would decode the next one meanwhile, and take interpreter and memory from it."""
LATE_FRAMES = 2.5
"""Frame intervals without a frame, after which a slow source counts as silent."""
JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """Describes how a session ended.

    Attributes:
        seconds: length of the session.
        cpu_seconds: processor time of the whole process meanwhile.
        realtime: whether grabber and display had real-time priority.
        error: reason for an early end; None without one.
    """

    seconds: float
    cpu_seconds: float
    realtime: bool
    error: str | None


class LivePipeline:
    """Runs once, until the source ends, `stop` is called or the time is up.

    Args:
        inbox: queue from which the model takes the newest frame.
        current: getter of the settings in force.
        sinks: receivers of every frame, also without a signal: `LiveSinks.first`.
        event_sinks: receivers of the records of the source's own frames.
        counters: counters that the pipeline fills.
    """

    def __init__(
        self,
        source: LiveSource,
        inbox: DroppingQueue[Frame],
        annotations: LatestAnnotations,
        display: Display,
        sinks: Sequence[Stage],
        event_sinks: Sequence[Stage[Recordable]],
        counters: LiveCounters,
        note: Note,
        current: Callable[[], Settings],
    ) -> None:
        self._source, self._inbox, self._annotations = source, inbox, annotations
        self._display, self._sinks, self._event_sinks = display, sinks, event_sinks
        self._counters, self._note, self._current = counters, note, current
        self._arrivals: DroppingQueue[Frame] = DroppingQueue(DISPLAY_FRAMES)
        self._display_ready, self._handed_over = Event(), Event()
        self._stopping = False  # no Event: its lock is not safe in a signal handler
        self._realtime = False
        self._error: str | None = None

    def stop(self) -> None:
        """End the session. Any thread and a signal handler may call it."""
        self._stopping = True
        self._source.stop()

    def run(self, seconds: float | None, pump: Callable[[], bool]) -> LiveOutcome:
        """Show video until it ends.

        Args:
            seconds: longest time to run; None for no limit.
            pump: work of this thread meanwhile, called again and again. It waits a moment, and
                ends the session by returning False.
        """
        started, cpu_started = time.monotonic(), time.process_time()
        threads = [
            start(name, work, prepare=self._take_priority, on_error=self._fail)
            for name, work in (("grabber", self._grab), ("display", self._show))
        ]
        while not self._stopping:
            if seconds is not None and time.monotonic() - started >= seconds:
                break
            if not pump():
                break
        self.stop()
        for thread in threads:
            thread.join(JOIN_SECONDS)
        cpu_seconds = time.process_time() - cpu_started
        return LiveOutcome(time.monotonic() - started, cpu_seconds, self._realtime, self._error)

    def _take_priority(self) -> None:
        self._realtime = raise_priority()

    def _fail(self, error: BaseException) -> None:
        """Keep the first error for the report at the end, and stop."""
        self._error = self._error or describe(error)
        self.stop()

    def _grab(self) -> None:
        self._display_ready.wait(JOIN_SECONDS)
        lost = False
        try:
            for arrival in self._source.arrivals():
                if isinstance(arrival, SignalLost):
                    self._lose_signal(arrival)
                else:
                    self._counters.reconnects += lost
                    self._take(arrival)
                lost = isinstance(arrival, SignalLost)
                if self._stopping:
                    return
        finally:
            self._arrivals.close()
            self.stop()

    def _take(self, frame: Frame) -> None:
        self._counters.arrived += 1
        self._handed_over.clear()
        if self._arrivals.put(frame) is not None:
            self._counters.drops[DISPLAY_LATE] += 1
        self._handed_over.wait(DRAWING_SECONDS)

    def _offer(self, frame: Frame) -> None:
        if self._inbox.put(frame) is not None:
            self._counters.drops[MODEL_BUSY] += 1

    def _lose_signal(self, lost: SignalLost) -> None:
        self._annotations.clear()
        if lost.attempt:
            self._counters.failed_reopens += 1
        else:
            self._counters.losses += 1
        self._note(
            "signal_lost", reason=lost.reason, attempt=lost.attempt, retry_in_s=lost.retry_in_s
        )

    def _show(self) -> None:
        load_font()
        self._display_ready.set()
        last: Frame | None = None
        silent = False
        while not self._arrivals.ended:
            limit_s = self._silence_s()
            frame = self._arrivals.get(limit_s)
            if frame is not None:
                self._note_changes(last, frame, silent)
                last, silent = frame, False
                model_first = self._current().live.mode == "synchronous"
                if model_first:
                    self._offer(frame)
                self._hand_over(self._display.show(frame))
                if not model_first:
                    self._offer(frame)
            elif last is not None and not self._arrivals.ended:
                if not silent:
                    self._counters.silences += 1
                    self._note("signal_lost", reason=f"no frame for {limit_s:g} s")
                silent = True
                self._hand_over(self._display.show(_repeat(last), signal=False))

    def _silence_s(self) -> float:
        """Return the seconds without a frame after which this source has lost its signal."""
        rate = self._source.info.fps
        return max(self._current().live.no_signal_s, LATE_FRAMES / float(rate) if rate else 0.0)

    def _note_changes(self, last: Frame | None, frame: Frame, silent: bool) -> None:
        if silent and last is not None:
            gap_s = (frame.grabbed_ns - last.grabbed_ns) / NS_PER_S
            self._note("signal_back", frame=frame.index, gap_s=round(gap_s, 3))
        if last is None or last.size != frame.size:
            width, height = frame.size
            self._note("format", frame=frame.index, width=width, height=height)

    def _hand_over(self, result: FrameResult) -> None:
        for sink in self._sinks:
            sink.put(result)
        now_ns = time.monotonic_ns()
        self._counters.count(result, now_ns)
        if result.live is not None and result.live.signal:
            # Not the result itself: the queue of a sink whose disk stalls is long.
            record = result.record()
            for each in self._event_sinks:
                each.put(record)
        self._handed_over.set()


def _repeat(last: Frame) -> Frame:
    """Return the last frame with the present time."""
    now_ns = time.monotonic_ns()
    elapsed = round((now_ns - last.grabbed_ns) / NS_PER_S / last.time_base)
    return replace(last, pts=last.pts + elapsed, grabbed_ns=now_ns)
