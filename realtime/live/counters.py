"""Counts frames, delays, ages and losses by cause in a live session."""

import time
from collections import Counter

from qlumen.realtime.frames import AiState, FrameResult
from qlumen.realtime.latency import NS_PER_MS, LatencyRecorder

RAW_DELAY = "raw_delay"
"""Time from a frame complete in memory until every sink has been handed it, drawn."""
ANNOTATION_AGE = "annotation_age"
"""Time from the grab of the annotated frame until its findings are handed out."""
MONITOR_DELAY = "monitor_delay"
"""Time from a frame complete in memory until the window has it."""
DISPLAY_LATE = "display_late"
"""Frames that were not shown, because newer ones replaced them before the display took them."""
MODEL_BUSY = "model_busy"
"""Frames that the model did not see, because it was busy or off. They are still shown."""


class LiveCounters:
    """Counts the frames and losses of a session.

    The thread that grabs video fills `arrived`, `losses`, `failed_reopens`, `reconnects` and
    `drops[DISPLAY_LATE]`. The thread that shows it fills the rest.

    Attributes:
        arrived: frames that the source has delivered.
        signal: whether the last shown frame came from the source.
        silences: silences long enough for NO SIGNAL; the source may resume on its own.
        losses: losses of the connection that the source reported.
        failed_reopens, reconnects: attempts to reconnect that failed, and that brought a frame.
        last_ns: monotonic time when the last frame was handed out; at first, of the creation.
    """

    def __init__(self, latency: LatencyRecorder) -> None:
        self._latency = latency
        self.arrived = self.shown = self.fresh = self.no_signal = 0
        self.signal = True
        self.silences = self.losses = self.failed_reopens = self.reconnects = 0
        self.last_ns = time.monotonic_ns()
        self.states: Counter[AiState] = Counter()
        self.drops: Counter[str] = Counter({DISPLAY_LATE: 0, MODEL_BUSY: 0})

    def count(self, result: FrameResult, handed_over_ns: int) -> None:
        """Count a frame that went out. Fresh findings are its own or of the frame before."""
        live = result.live
        assert live is not None
        self.signal, self.last_ns = live.signal, handed_over_ns
        if not live.signal:
            self.no_signal += 1
            return
        self.shown += 1
        self.states[live.ai] += 1
        self._latency.add(RAW_DELAY, handed_over_ns - result.frame.grabbed_ns)
        if live.annotated_frame is None or live.annotation_age_ms is None:
            return
        self.fresh += live.annotated_frame >= result.frame.index - 1
        self._latency.add(ANNOTATION_AGE, round(live.annotation_age_ms * NS_PER_MS))
