"""The monitor: shows the newest picture in the thread that the window wants, the main one."""

import time

from qlumen.realtime.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.outlets import Note
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.monitor import Monitor

WAIT_SECONDS = 0.01
"""For a picture, before the window's keys are looked at."""


class Window:
    """A picture that is not shown before the next one comes is left out, and counted."""

    name = "monitor"

    def __init__(self, monitor: Monitor, latency: LatencyRecorder, note: Note) -> None:
        self._monitor, self._latency, self._note = monitor, latency, note
        self._newest: DroppingQueue[FrameResult] = DroppingQueue()
        self.attached = True
        self.written = 0
        self.drops: dict[str, int] = {"monitor_slow": 0}

    def put(self, result: FrameResult) -> None:
        if self.attached and self._newest.put(result) is not None:
            self.drops["monitor_slow"] += 1

    def turn(self) -> None:
        """Show the newest picture, if there is one, and serve the window."""
        result = self._newest.get(WAIT_SECONDS)
        try:
            if result is None:
                self._monitor.idle()
                return
            self._monitor.write(result)
        except SinkError as error:
            self.attached = False
            self._note("sink_detached", sink=self.name, reason=str(error))
            return
        self.written += 1
        self._latency.add("monitor", time.monotonic_ns() - result.frame.grabbed_ns)

    def close(self) -> None:
        self._monitor.close()
