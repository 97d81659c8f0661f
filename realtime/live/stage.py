"""A stage after the display: a queue that never makes the display wait, and what it lost.

No stage can hold up the video or another stage. A slow one loses frames; a broken one is
detached, and an event says so. Frames that a stage did not get are counted.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Generic

from qlumen.errors import QlumenError, SinkError, describe
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.counters import MONITOR_DELAY
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink, Taken
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sinks.monitor import Monitor
from qlumen.system.backoff import Backoff
from qlumen.system.threads import WRITER_NICENESS, lower_priority, start

WAKE_SECONDS = 0.1
DRAIN_LOOK_SECONDS = 0.01


class Stage(Generic[Taken]):
    """Takes frames from the display's thread.

    Args:
        name: for messages, counts and the latency table.
        frames: that may wait.
        note: writes an event: kind and fields.

    Attributes:
        attached: whether it works.
        written: frames that it dealt with.
        drops: frames that it did not get. `NAME_slow`: they gave way to newer ones in its queue,
            or waited there when `close` gave up. `NAME_detached`: the one that it broke at,
            those that waited then, and those that came until it worked again, or the end.
        notes: a line on each thing that it changed or left out; complete at the end.
    """

    def __init__(self, name: str, frames: int, latency: LatencyRecorder, note: Note) -> None:
        self.name = name
        self.attached = True
        self.written = 0
        self.notes: list[str] = []
        self._slow, self._detached = f"{name}_slow", f"{name}_detached"
        self.drops: Counter[str] = Counter({self._slow: 0, self._detached: 0})
        self._latency, self._note = latency, note
        self._queue: DroppingQueue[Taken] = DroppingQueue(frames)
        self._taken = self._done = 0
        self._changing = threading.Lock()  # of `attached`, with the queue and the drops

    def put(self, result: Taken) -> None:
        """Hand over a frame; never waits."""
        with self._changing:
            if not self.attached:
                self.drops[self._detached] += 1
            elif self._queue.put(result) is None:
                self._taken += 1
            else:
                self.drops[self._slow] += 1

    def _detach(self, why: str, lost: int) -> None:
        """Take nothing more; `lost` frames have gone already, and those that wait go, too."""
        with self._changing:
            self.attached = False
            waited = self._empty_queue()
            self._done += waited
            self.drops[self._detached] += lost + waited
        self._note("sink_detached", sink=self.name, reason=why)
        self.notes.append(f"{self.name} was detached: {why}")

    def _empty_queue(self) -> int:
        """Take out what waits; return how many frames that were."""
        count = 0
        while self._queue.get(timeout_s=0) is not None:
            count += 1
        return count


class ThreadedStage(Stage[Taken], ABC):
    """A stage with a thread of its own, from `start` to `close`.

    Args:
        niceness: of the thread.
    """

    def __init__(
        self, name: str, frames: int, latency: LatencyRecorder, note: Note, niceness: int
    ) -> None:
        super().__init__(name, frames, latency, note)
        self._niceness = niceness
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = start(
            self.name,
            self._run,
            prepare=partial(lower_priority, self._niceness),
            on_error=lambda error: self._detach(describe(error), lost=0),
        )

    def drain(self, timeout_s: float) -> None:
        """Return when all that was put has been dealt with, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._done < self._taken and self.attached and time.monotonic() < deadline:
            time.sleep(DRAIN_LOOK_SECONDS)

    def close(self, timeout_s: float) -> None:
        """Deal with what waits, and end; give up after `timeout_s`."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._queue.close()
        if self._thread is None:
            self._end()
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.drops[self._slow] += self._empty_queue()
            self.notes.append(f"{self.name} did not finish within {timeout_s:g} s")

    @abstractmethod
    def _handle(self, result: Taken) -> None:
        """Deal with a frame, in the thread; whatever it raises detaches the stage."""

    @abstractmethod
    def _end(self) -> None:
        """Release what is held."""

    def _reattach(self) -> bool:
        """Make a broken stage work again; False when it stays broken."""
        return False

    def _run(self) -> None:
        while not self._queue.ended:
            result = self._queue.get(WAKE_SECONDS)
            if result is not None:
                self._attempt(result)
                self._done += 1
            if not self.attached and not self._reattach():
                return
        self._end()

    def _attempt(self, result: Taken) -> None:
        started_ns = time.monotonic_ns()
        try:
            self._handle(result)
        except Exception as error:  # noqa: BLE001 - a broken stage must not stop the others
            self._detach(describe(error), lost=1)
        else:
            self.written += 1
            self._latency.add(self.name, time.monotonic_ns() - started_ns)


REOPEN = Backoff(first_s=1.0, most_s=30.0, jitter=0.2)


class SinkRunner(ThreadedStage[Taken]):
    """Opens the sink at once, and feeds it from `start` to `close`.

    Args:
        open_sink: makes the sink; raises a QlumenError if it cannot be written to.
        reopens: whether a broken sink is opened again after a pause.
    """

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], Sink[Taken]],
        latency: LatencyRecorder,
        note: Note,
        *,
        frames: int,
        reopens: bool = False,
        niceness: int = WRITER_NICENESS,
    ) -> None:
        super().__init__(name, frames, latency, note, niceness)
        self.reopens = reopens
        self._open = open_sink
        self._sink: Sink[Taken] | None = open_sink()

    def _handle(self, result: Taken) -> None:
        assert self._sink is not None
        self._sink.write(result)

    def _detach(self, why: str, lost: int) -> None:
        super()._detach(why, lost)
        self._end()

    def _reattach(self) -> bool:
        """Try again until it works; False when there is nothing to try or no time left."""
        failures = 1
        while self.reopens and not self._closing.wait(REOPEN.pause_s(failures)):
            try:
                self._sink = self._open()
            except QlumenError:
                failures += 1
                continue
            self.attached = True
            self._note("sink_attached", sink=self.name)
            return True
        return False

    def _end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001 - a broken sink must not stop the others
            self.notes.append(str(error))
        self.notes.extend(sink.notes)


WAIT_SECONDS = 0.01
"""For a picture, before the window's keys are looked at."""
MONITOR = "monitor"


class MonitorRunner(Stage):
    """Runs the window. A picture that is not shown before the next one comes is left out, and
    counted; so are all that come after the window was closed."""

    def __init__(self, monitor: Monitor, latency: LatencyRecorder, note: Note) -> None:
        super().__init__(MONITOR, 1, latency, note)
        self._monitor = monitor

    def turn(self) -> None:
        """Show the newest picture, if there is one, and serve the window."""
        result = self._queue.get(WAIT_SECONDS)
        try:
            if result is None:
                self._monitor.idle()
                return
            self._monitor.write(result)
        except SinkError as error:
            self._detach(str(error), lost=int(result is not None))
            return
        self.written += 1
        self._latency.add(MONITOR_DELAY, time.monotonic_ns() - result.frame.grabbed_ns)

    def close(self) -> None:
        self._monitor.close()
