"""Measures the frame rate, and the age of the findings over the last minute."""

import threading
import time
from collections import deque
from dataclasses import dataclass

from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import NS_PER_S

SECONDS = 60
RATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Second:
    """Holds the figures of one second.

    Attributes:
        number: seconds of the monotonic clock.
        age_ms: greatest age of the findings shown in this second, from their frame's grab to
            display; None without findings.
    """

    number: int
    age_ms: float | None


class Figures:
    """Collects figures in the sink's thread for other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Forget all figures, for a new session."""
        with self._lock:
            self._arrivals: deque[int] = deque()
            self._seconds: deque[Second] = deque(maxlen=SECONDS)
            self._last: FrameResult | None = None

    def __call__(self, result: FrameResult) -> None:
        now_ns = time.monotonic_ns()
        live = result.live
        with self._lock:
            self._last = result
            if live is None or not live.signal:
                return
            self._arrivals.append(now_ns)
            self._forget(now_ns)
            self._add(Second(now_ns // NS_PER_S, live.annotation_age_ms))

    @property
    def last(self) -> FrameResult | None:
        """Return the newest frame with its result."""
        return self._last

    def rate(self) -> float:
        """Return the frames per second over the last `RATE_SECONDS`."""
        with self._lock:
            self._forget(time.monotonic_ns())
            if len(self._arrivals) < 2:
                return 0.0
            span_ns = self._arrivals[-1] - self._arrivals[0]
            return (len(self._arrivals) - 1) * NS_PER_S / span_ns if span_ns else 0.0

    def seconds(self) -> list[Second]:
        """Return the last minute, oldest first, without the seconds that have no frame."""
        with self._lock:
            return list(self._seconds)

    def _forget(self, now_ns: int) -> None:
        while self._arrivals and now_ns - self._arrivals[0] > RATE_SECONDS * NS_PER_S:
            self._arrivals.popleft()

    def _add(self, new: Second) -> None:
        if not self._seconds or self._seconds[-1].number != new.number:
            self._seconds.append(new)
            return
        old = self._seconds[-1]
        ages = [age for age in (old.age_ms, new.age_ms) if age is not None]
        self._seconds[-1] = Second(new.number, max(ages, default=None))
