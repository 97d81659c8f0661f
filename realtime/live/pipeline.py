"""The live video path: the picture never waits for the model, nor for an output.

    source -> grabber --+--> [frames] -> display -> outlets, one thread each
                        |                   ^
                        +--> [newest] -> model (watched) -> board

The grabber never waits. The display draws each frame with the newest annotation on the
board and hands it to every outlet, which never waits either. Whatever gives way is counted
by cause: `model_busy` are frames that the model did not see, `display_late` frames that
were not shown.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from qlumen.errors import QlumenError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, FrameRecord, FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.counters import DISPLAY_LATE, MODEL_BUSY, Tally
from qlumen.realtime.live.display import Display
from qlumen.realtime.live.latest import Board
from qlumen.realtime.live.threads import raise_priority
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sources.live_base import LiveSource, SignalLost

DISPLAY_FRAMES = 8
"""Frames that may wait for the display: a third of a second at 25 frames/s."""
LATE_FRAMES = 2.5
"""Frame times without a frame, from which a slow source is silent."""
JOIN_SECONDS = 5.0
NS_PER_S = 1_000_000_000

Note = Callable[..., None]


class Taker(Protocol):
    """What the display hands frames to; never makes it wait."""

    def put(self, result: FrameResult) -> None: ...


class Listener(Protocol):
    """What the display hands the records of frames to; never makes it wait."""

    def put(self, result: FrameRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """Attributes:
    arrived: frames that the source delivered.
    seconds: of the session.
    error: what ended it early, if anything did.
    """

    arrived: int
    seconds: float
    error: str | None


class LivePipeline:
    """Runs once, until the source is over, `stop` is called or the time is up.

    Args:
        inbox: where the model takes the newest frame from.
        current: the settings in force.
        takers: all that receive every picture, also while there is no signal.
        listeners: those that receive the records of the source's own frames only.

    Attributes:
        realtime: whether grabber and display run with real-time priority.
    """

    def __init__(
        self,
        source: LiveSource,
        inbox: DroppingQueue[Frame],
        board: Board,
        display: Display,
        takers: Sequence[Taker],
        listeners: Sequence[Listener],
        latency: LatencyRecorder,
        note: Note,
        current: Callable[[], Settings],
    ) -> None:
        self._source, self._inbox, self._board = source, inbox, board
        self._display, self._takers, self._listeners = display, takers, listeners
        self._latency, self._note, self._current = latency, note, current
        self.tally = Tally(latency)
        self._arrivals: DroppingQueue[Frame] = DroppingQueue(DISPLAY_FRAMES)
        self._stopping = False  # no Event: its lock is not safe in a signal handler
        self.realtime = False
        self._arrived = 0
        self._error: str | None = None

    @property
    def arrived(self) -> int:
        """Frames that the source has delivered so far."""
        return self._arrived

    def stop(self) -> None:
        """End the session; may be called by any thread and by a signal handler."""
        self._stopping = True
        self._source.stop()

    def run(self, seconds: float | None, pump: Callable[[], bool]) -> LiveOutcome:
        """Show video until it is over.

        Args:
            seconds: time to run; None for no limit.
            pump: what this thread does meanwhile; called again and again, waits a moment, ends
                the session by returning False.
        """
        started = time.monotonic()
        threads = [self._thread("grabber", self._grab), self._thread("display", self._show)]
        while not self._stopping:
            if seconds is not None and time.monotonic() - started >= seconds:
                break
            if not pump():
                break
        self.stop()
        for thread in threads:
            thread.join(JOIN_SECONDS)
        return LiveOutcome(self._arrived, time.monotonic() - started, self._error)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            self.realtime = raise_priority()
            try:
                work()
            except QlumenError as error:
                self._error = self._error or str(error)
            except BaseException as error:  # noqa: BLE001 - told at the end, with an exit code
                self._error = self._error or f"{type(error).__name__}: {error}"
            finally:
                self.stop()

        thread = threading.Thread(target=guarded, name=f"qlumen-{name}", daemon=True)
        thread.start()
        return thread

    def _grab(self) -> None:
        lost = False
        try:
            for arrival in self._source.arrivals():
                if isinstance(arrival, SignalLost):
                    self._lose_signal(arrival)
                else:
                    self.tally.reconnects += lost
                    self._take(arrival)
                lost = isinstance(arrival, SignalLost)
                if self._stopping:
                    return
        finally:
            self._arrivals.close()

    def _take(self, frame: Frame) -> None:
        self._arrived += 1
        if self._arrivals.put(frame) is not None:
            self.tally.drops[DISPLAY_LATE] += 1
        if self._inbox.put(frame) is not None:
            self.tally.drops[MODEL_BUSY] += 1

    def _lose_signal(self, lost: SignalLost) -> None:
        self._board.clear()
        if lost.attempt:
            self.tally.failed_reopens += 1
        else:
            self.tally.losses += 1
        self._note(
            "signal_lost", reason=lost.reason, attempt=lost.attempt, retry_in_s=lost.retry_in_s
        )

    def _show(self) -> None:
        last: Frame | None = None
        silent = False
        while not self._arrivals.ended:
            limit_s = self._silence_s()
            frame = self._arrivals.get(limit_s)
            if frame is not None:
                self._note_changes(last, frame, silent)
                last, silent = frame, False
                self._hand_over(self._display.show(frame))
            elif last is not None and not self._arrivals.ended:
                if not silent:
                    self.tally.silences += 1
                    self._note("signal_lost", reason=f"no picture for {limit_s:g} s")
                silent = True
                self._hand_over(self._display.show(_held(last), signal=False))

    def _silence_s(self) -> float:
        """How long a source of this rate may deliver nothing before that is a loss."""
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
        for taker in self._takers:
            taker.put(result)
        now_ns = time.monotonic_ns()
        self.tally.count(result, now_ns)
        if result.live is not None and result.live.signal:
            # Not the result itself: the queue of a listener whose disk stalls is long.
            record = result.record()
            for listener in self._listeners:
                listener.put(record)


def _held(last: Frame) -> Frame:
    """The last picture, as of now."""
    now_ns = time.monotonic_ns()
    elapsed = round((now_ns - last.grabbed_ns) / NS_PER_S / last.time_base)
    return replace(last, pts=last.pts + elapsed, grabbed_ns=now_ns)
