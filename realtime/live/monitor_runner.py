"""The monitor: shows the newest picture in the thread that the window wants, the main one."""

import time

from qlumen.errors import SinkError
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.counters import MONITOR_DELAY
from qlumen.realtime.live.event_log import Note
from qlumen.realtime.live.stage import Stage
from qlumen.realtime.sinks.monitor import Monitor

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
