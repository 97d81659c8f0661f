"""Hands out the packets of a live playlist (HLS) at their own rate."""

import time

import av

LONGEST_STEP_S = 0.5
"""A longer step from one packet to the next is a piece that was missed, or a jump of the time
stamps. Whoever waited for it would miss the next piece also."""
REPEATED_S = 30.0
"""What a playlist holds at its opening: three pieces of ten seconds at most."""


class Pace:
    """Waits until a packet is due.

    A playlist comes in pieces of many seconds, and an opening gives the last few again. Each
    packet is due as long after the one before as its time stamp is. One that comes later delays
    all that follow, so that the delay stays that of the slowest piece.

    Args:
        after_s: time of the last frame of the connection before, in the source's own time; None
            at the first opening.
    """

    def __init__(self, after_s: float | None) -> None:
        self._after_s = after_s
        self._start_s: float | None = None

    def is_repeated(self, time_s: float | None) -> bool:
        """Check whether the connection before has shown what has this time."""
        if time_s is None or self._after_s is None:
            return False
        return self._after_s - REPEATED_S < time_s <= self._after_s

    def wait(self, packet: av.Packet) -> None:
        """Sleep until the packet is due; not at all for one that is repeated."""
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return
        time_s, now_s = float(stamp * packet.time_base), time.monotonic()
        due_s = now_s if self._start_s is None else self._start_s + time_s
        if self.is_repeated(time_s) or not 0 <= due_s - now_s < LONGEST_STEP_S:
            due_s = now_s
        self._start_s = due_s - time_s
        time.sleep(due_s - now_s)
