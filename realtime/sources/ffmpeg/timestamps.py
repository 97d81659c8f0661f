"""Time stamps for frames whose own is missing or out of order."""

from fractions import Fraction


class Timestamps:
    """Gives each frame, in presentation order, the time stamp it is to have.

    That is its own (`pts`), save where it is missing or not later than the one before:
    - some containers (AVI) store the order of decoding only; there the decoding time
      stamp serves from the first such frame on, as in FFmpeg's "best effort";
    - without that one either, a missing time stamp is one step after the one before;
    - a recording that goes back in time (two joined, say) is left as it is.

    `estimated` counts the time stamps that are not the frames' own.

    Args:
        step: from one frame to the next in the mean, in units of the time stamps.
    """

    def __init__(self, step: Fraction) -> None:
        self.estimated = 0
        self._step = step
        self._last: int | None = None
        self._next = Fraction(0)
        self._disordered = False

    def of(self, pts: int | None, dts: int | None) -> int:
        """The time stamp of the next frame."""
        self._disordered |= pts is not None and not self._advances(pts)
        chosen = self._chosen(pts, dts)
        self.estimated += chosen != pts
        # Added up as a fraction, a row of estimates does not drift.
        self._next = (self._next if chosen == round(self._next) else chosen) + self._step
        self._last = chosen
        return chosen

    def _chosen(self, pts: int | None, dts: int | None) -> int:
        if pts is not None and not self._disordered:
            return pts
        if dts is not None and (pts is None or self._advances(dts)):
            return dts
        if pts is not None and (dts is not None or self._advances(pts)):
            return pts
        return round(self._next)

    def _advances(self, stamp: int) -> bool:
        return self._last is None or stamp > self._last
