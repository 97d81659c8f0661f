"""What the video goes out to: each sink behind a queue and in a thread of its own.

None of them can hold up the video or another one. A slow sink loses frames; a broken one is
detached, which is told, and one that goes to a network is tried again after a pause. Frames
that a sink did not get are counted.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from qlumen.errors import QlumenError
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.threads import WRITER_NICENESS, lower_priority
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink, Taken

REOPEN_FIRST_SECONDS, REOPEN_MAX_SECONDS = 1.0, 30.0
JITTER = 0.2
WAKE_SECONDS = 0.1
DRAIN_LOOK_SECONDS = 0.01

Note = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Outlet(Generic[Taken]):
    """Attributes:
    name: for messages, counts and the latency table.
    open: makes the sink; raises a QlumenError if it cannot be written to.
    frames: that may wait for it.
    reopens: whether a broken one is opened again after a pause.
    niceness: of its thread.
    """

    name: str
    open: Callable[[], Sink[Taken]]
    frames: int
    reopens: bool = False
    niceness: int = WRITER_NICENESS


class OutletRunner(Generic[Taken]):
    """Opens the sink at once, and feeds it from `start` to `close`.

    Attributes:
        attached: whether the sink works.
        written: frames that it got.
        drops: those that it did not get. `NAME_slow`: they gave way to newer ones in its queue,
            or waited there when `close` gave up. `NAME_detached`: the one that it broke at,
            those that waited then, and those that came until it worked again, or the end.
    """

    def __init__(self, outlet: Outlet[Taken], latency: LatencyRecorder, note: Note) -> None:
        self.name = outlet.name
        self.attached = True
        self.written = 0
        self._slow, self._detached = f"{outlet.name}_slow", f"{outlet.name}_detached"
        self.drops: Counter[str] = Counter({self._slow: 0, self._detached: 0})
        self._outlet, self._latency, self._note = outlet, latency, note
        self._queue: DroppingQueue[Taken] = DroppingQueue(outlet.frames)
        self._taken = self._done = 0
        self._changing = threading.Lock()  # of `attached`, with the queue and the drops
        self._closing = threading.Event()
        self._notes: list[str] = []
        self._sink: Sink[Taken] | None = outlet.open()
        self._thread = threading.Thread(target=self._run, name=f"qlumen-{outlet.name}", daemon=True)

    @property
    def reopens(self) -> bool:
        return self._outlet.reopens

    def start(self) -> None:
        self._thread.start()

    @property
    def notes(self) -> list[str]:
        """A line on each thing that the sink changed or left out; complete after `close`."""
        return self._notes

    def put(self, result: Taken) -> None:
        """Hand over a frame; never waits for the sink."""
        with self._changing:
            if not self.attached:
                self.drops[self._detached] += 1
            elif self._queue.put(result) is None:
                self._taken += 1
            else:
                self.drops[self._slow] += 1

    def drain(self, timeout_s: float) -> None:
        """Return when all that was put has been written, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._done < self._taken and self.attached and time.monotonic() < deadline:
            time.sleep(DRAIN_LOOK_SECONDS)

    def close(self, timeout_s: float) -> None:
        """Let the sink write what waits for it and finish; give up after `timeout_s`."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._queue.close()
        if not self._thread.ident:
            self._close_sink()
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.drops[self._slow] += taken_out(self._queue)
            self._notes.append(f"{self.name} did not finish within {timeout_s:g} s")

    def _run(self) -> None:
        lower_priority(self._outlet.niceness)
        while not self._queue.ended:
            result = self._queue.get(WAKE_SECONDS)
            if result is not None and self._sink is not None:
                self._write(self._sink, result)
                self._done += 1
            if self._sink is None and not self._reopen():
                return
        self._close_sink()

    def _write(self, sink: Sink[Taken], result: Taken) -> None:
        started_ns = time.monotonic_ns()
        try:
            sink.write(result)
        except QlumenError as error:
            self._detach(str(error))
        except Exception as error:  # noqa: BLE001 - a broken sink must not stop the others
            self._detach(f"{type(error).__name__}: {error}")
        else:
            self.written += 1
            self._latency.add(self.name, time.monotonic_ns() - started_ns)

    def _detach(self, reason: str) -> None:
        with self._changing:
            self.attached = False
            waited = taken_out(self._queue)
            self._done += waited
            self.drops[self._detached] += 1 + waited
        self._close_sink()
        self._note("sink_detached", sink=self.name, reason=reason)
        self._notes.append(f"{self.name} was detached: {reason}")

    def _reopen(self) -> bool:
        """Try again until it works; False when there is nothing to try or no time left."""
        pause_s = REOPEN_FIRST_SECONDS
        while self._outlet.reopens and not self._closing.wait(pause_s * _jitter()):
            try:
                self._sink = self._outlet.open()
            except QlumenError:
                pause_s = min(REOPEN_MAX_SECONDS, 2 * pause_s)
                continue
            self.attached = True
            self._note("sink_attached", sink=self.name)
            return True
        return False

    def _close_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001 - a broken sink must not stop the others
            self._notes.append(str(error))
        self._notes.extend(sink.notes)


def taken_out(queue: DroppingQueue[Any]) -> int:
    """Empty the queue; how many frames were in it."""
    count = 0
    while queue.get(timeout_s=0) is not None:
        count += 1
    return count


def _jitter() -> float:
    return random.uniform(1 - JITTER, 1 + JITTER)
