"""What a live session counts: frames, delays, ages, and what was dropped why."""

import time
from collections import Counter

from qlumen.realtime.frames import AiState, FrameResult
from qlumen.realtime.latency import NS_PER_MS, LatencyRecorder

RAW_DELAY = "raw_delay"
"""From a frame complete in memory until it is handed to every sink, drawn."""
ANNOTATION_AGE = "annotation_age"
"""From the grab of the frame that the findings were made on until they are handed out."""
MONITOR_DELAY = "monitor_delay"
"""From a frame complete in memory until the window has been given it."""
DISPLAY_LATE = "display_late"
"""Frames that were not shown: they gave way to newer ones before the display came to them."""
MODEL_BUSY = "model_busy"
"""Frames that the model, busy or off, did not see. They are shown all the same."""


class LiveCounters:
    """Filled by the thread that shows the video; `arrived`, `losses`, `failed_reopens`,
    `reconnects` and `drops` by the one that grabs it.

    Attributes:
        arrived: frames that the source has delivered.
        signal: whether the last picture came from the source.
        silences: of the source, long enough for NO SIGNAL; it may deliver again by itself.
        losses: of the connection to the source, as it said. failed_reopens, reconnects:
            attempts to get it back that failed, and that brought a frame.
        last_ns: when the last picture was handed out; at first, when this was made.
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
        """A frame went out. Fresh: its findings are its own or those of the frame before."""
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
