"""Keeps one time for all frames of a live source, also after a loss."""

US_PER_S = 1_000_000
NS_PER_US = 1_000
MAX_DISTANCE_US = 1_000_000
"""Largest distance from a frame's time stamp to its arrival at which the stamp is used."""
LONGEST_DRIFT_US = MAX_DISTANCE_US // 2
"""Distance up to which a frame's arrival may vary without a change of its time stamp."""
MOST_CHANGE = 0.01
"""Share of a step by which a time stamp beyond this distance is moved towards the arrival."""
MIN_STEP_US = 1_000
"""Smallest step between frames, so that a coarser time base still separates them."""


class SessionClock:
    """Stamps frames in microseconds since the first one.

    While the source's own time runs on, its own distances are used, so the network's jitter is
    not recorded. A source whose clock is fast or slow, such as a grabber that stamps 59.94 frames
    a second as 60, is followed by slightly longer or shorter steps. After `restart`, or when the
    source's time goes back or is more than `MAX_DISTANCE_US` away from the arrival, the clock
    starts again from the arrival.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_us = -MIN_STEP_US
        self._offset_us = 0
        self._tied = False

    def restart(self) -> None:
        """Forget the source's time: it was opened again and its new time is unrelated."""
        self._tied = False

    def stamp(self, source_s: float | None, arrived_ns: int) -> int:
        """Return the microseconds of the next frame, at least `MIN_STEP_US` after the last.

        Args:
            source_s: the source's own time stamp, in seconds from any start; None: it has none,
                and the arrival counts.
            arrived_ns: monotonic time of arrival.
        """
        if self._first_ns is None:
            self._first_ns = arrived_ns
        arrived_us = (arrived_ns - self._first_ns) // NS_PER_US
        if source_s is None:
            self._tied = False
            self._last_us = max(arrived_us, self._last_us + MIN_STEP_US)
            return self._last_us
        source_us = round(source_s * US_PER_S)
        if not (self._tied and self._is_plausible(source_us, arrived_us)):
            self._tied = True
            self._offset_us = max(arrived_us, self._last_us + MIN_STEP_US) - source_us
        else:
            self._follow(source_us, arrived_us)
        self._last_us = source_us + self._offset_us
        return self._last_us

    def _follow(self, source_us: int, arrived_us: int) -> None:
        """Take back a part of what the source's clock has run off."""
        stamp_us = source_us + self._offset_us
        ahead_us = stamp_us - arrived_us
        beyond_us = max(0, abs(ahead_us) - LONGEST_DRIFT_US)
        step_us = stamp_us - self._last_us
        change_us = min(beyond_us, round(MOST_CHANGE * step_us), step_us - MIN_STEP_US)
        self._offset_us += -change_us if ahead_us > 0 else change_us

    def _is_plausible(self, source_us: int, arrived_us: int) -> bool:
        stamp_us = source_us + self._offset_us
        distance_us = abs(stamp_us - arrived_us)
        return stamp_us >= self._last_us + MIN_STEP_US and distance_us <= MAX_DISTANCE_US
