"""The monitor: shows the newest picture in the thread that the window wants, the main one."""

import threading
import time

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.counters import MONITOR_DELAY
from qlumen.realtime.live.sink_runner import Note, taken_out
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.monitor import Monitor

WAIT_SECONDS = 0.01
"""For a picture, before the window's keys are looked at."""
SLOW, DETACHED = "monitor_slow", "monitor_detached"


class Window:
    """A picture that is not shown before the next one comes is left out, and counted; so are
    all that come after the window was closed."""

    name = "monitor"

    def __init__(self, monitor: Monitor, latency: LatencyRecorder, note: Note) -> None:
        self._monitor, self._latency, self._note = monitor, latency, note
        self._newest: DroppingQueue[FrameResult] = DroppingQueue()
        self._changing = threading.Lock()  # of `attached`, with the queue and the drops
        self.attached = True
        self.written = 0
        self.drops = {SLOW: 0, DETACHED: 0}

    def put(self, result: FrameResult) -> None:
        with self._changing:
            if not self.attached:
                self.drops[DETACHED] += 1
            elif self._newest.put(result) is not None:
                self.drops[SLOW] += 1

    def turn(self) -> None:
        """Show the newest picture, if there is one, and serve the window."""
        result = self._newest.get(WAIT_SECONDS)
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

    def _detach(self, reason: str, lost: int) -> None:
        with self._changing:
            self.attached = False
            self.drops[DETACHED] += lost + taken_out(self._newest)
        self._note("sink_detached", sink=self.name, reason=reason)
