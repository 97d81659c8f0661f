"""The session's clock: one time for all frames of a live source, through all its losses."""

US_PER_S = 1_000_000
NS_PER_US = 1_000
MAX_APART_US = 1_000_000
"""From a frame's time stamp to its arrival; beyond it the source's time is not believed."""
MIN_STEP_US = 1_000
"""Between frames, so that recordings with a coarser time base keep them apart."""


class SessionClock:
    """Stamps frames in microseconds since the first one.

    While the source's own time runs on, distances are its own, so that jitter of the network
    is not recorded. After `restart`, or when its time went back or got more than `MAX_APART_US`
    away from the arrival, it is tied to the arrival anew.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_us = -MIN_STEP_US
        self._offset_us = 0
        self._tied = False

    def restart(self) -> None:
        """The source was opened anew: its time has nothing to do with that before."""
        self._tied = False

    def stamp(self, source_s: float, arrived_ns: int) -> int:
        """Microseconds of the next frame, at least `MIN_STEP_US` after the one before.

        Args:
            source_s: the source's own time stamp, in seconds from anywhere.
            arrived_ns: monotonic.
        """
        if self._first_ns is None:
            self._first_ns = arrived_ns
        arrived_us = (arrived_ns - self._first_ns) // NS_PER_US
        source_us = round(source_s * US_PER_S)
        if not (self._tied and self._believable(source_us, arrived_us)):
            self._tied = True
            self._offset_us = max(arrived_us, self._last_us + MIN_STEP_US) - source_us
        self._last_us = source_us + self._offset_us
        return self._last_us

    def _believable(self, source_us: int, arrived_us: int) -> bool:
        stamp_us = source_us + self._offset_us
        apart_us = abs(stamp_us - arrived_us)
        return stamp_us >= self._last_us + MIN_STEP_US and apart_us <= MAX_APART_US
