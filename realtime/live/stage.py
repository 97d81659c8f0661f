"""Runs the stages after the display, each behind a queue that never makes the display wait.

No stage can delay the video or another stage. A slow stage loses frames. A broken stage is
detached, and an event reports it. Each stage counts the frames that it did not get.
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
        name: name in messages, counts and the latency table.
        frames: number of frames that may wait.

    Attributes:
        attached: whether it works.
        written: frames that it handled.
        drops: frames that it did not get. `NAME_slow`: newer frames replaced them in its queue,
            or they waited there when `close` gave up. `NAME_detached`: the frame at which it broke,
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
        """Hand over a frame without waiting."""
        with self._changing:
            if not self.attached:
                self.drops[self._detached] += 1
            elif self._queue.put(result) is None:
                self._taken += 1
            else:
                self.drops[self._slow] += 1

    def _detach(self, why: str, lost: int) -> None:
        """Take no more frames. Count `lost` frames and those that wait as dropped."""
        with self._changing:
            self.attached = False
            waited = self._empty_queue()
            self._done += waited
            self.drops[self._detached] += lost + waited
        self._note("sink_detached", sink=self.name, reason=why)
        self.notes.append(f"{self.name} was detached: {why}")

    def _empty_queue(self) -> int:
        """Drop the waiting frames and return their number."""
        count = 0
        while self._queue.get(timeout_s=0) is not None:
            count += 1
        return count


class ThreadedStage(Stage[Taken], ABC):
    """Runs a stage in a thread of its own, from `start` to `close`."""

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
        """Wait until all frames are handled, at most `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._done < self._taken and self.attached and time.monotonic() < deadline:
            time.sleep(DRAIN_LOOK_SECONDS)

    def close(self, timeout_s: float) -> None:
        """Handle the waiting frames and end. Give up after `timeout_s` seconds."""
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
        """Handle a frame in the thread. Any exception detaches the stage."""

    @abstractmethod
    def _end(self) -> None:
        """Release what the stage holds."""

    def _reattach(self) -> bool:
        """Make a broken stage work again. Return False if it stays broken."""
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
    """Opens the sink immediately, and feeds it from `start` to `close`.

    Args:
        open_sink: maker of the sink; raises a QlumenError if the sink cannot be written to.
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
        """Open the sink again until it works. Return False if that is off or it closes."""
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
"""Longest wait for a frame before the window's keys are read."""
MONITOR = "monitor"


class MonitorRunner(Stage):
    """Runs the window.

    It leaves out and counts a frame that is not shown before the next one comes, and all frames
    after the window was closed.
    """

    def __init__(self, monitor: Monitor, latency: LatencyRecorder, note: Note) -> None:
        super().__init__(MONITOR, 1, latency, note)
        self._monitor = monitor

    def turn(self) -> None:
        """Show the newest frame, if there is one, and serve the window."""
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
