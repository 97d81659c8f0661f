"""Gives frames time stamps that never go back."""

from fractions import Fraction

import av
from av.format import Flags

ASSUMED_RATE = Fraction(25)
"""Rate of frames without time stamps in a stream without a rate."""
BACK_S = Fraction(1, 10)
"""Decoding times that go back by more than this begin anew, as in the `ffmpeg` command."""
REORDERED_S, REORDERED_FRAMES = Fraction(1), 8
"""The same for presentation times, which also go back where frames are reordered: by more than
the longer of the two."""
JUMP_S = Fraction(10)
"""Times that go on by more than this begin anew, in formats whose times may."""


class TimeLine:
    """Puts the parts of a recording whose time stamps begin anew on one time line.

    Such recordings are joined files, chapters of a DVD, and streams of a sender that starts
    again. A part then begins one step after the end of the part before it, as in the `ffmpeg`
    command. Decoding times are compared with decoding times only: Matroska gives the first packets
    none.

    Args:
        step_s: mean seconds from one frame to the next, for packets without a duration.
        jumps: whether long pauses are new parts also. FFmpeg marks the formats where they are
            (`ts_discont`: MPEG program and transport streams and others).

    Attributes:
        joints: number of times that the time stamps began anew.
    """

    def __init__(self, step_s: Fraction, *, jumps: bool) -> None:
        self.joints = 0
        self._step_s, self._jumps = step_s, jumps
        self._offset = 0
        self._last_dts: int | None = None
        self._last_pts: int | None = None
        self._end: int | None = None  # of the packet that is shown last

    def place(self, packet: av.Packet) -> None:
        """Move the packet's time stamps to the time line; take packets in order of decoding."""
        pts, dts, step = packet.pts, packet.dts, self._step(packet)
        shown = dts if pts is None else pts
        if shown is None:
            return
        if self._end is None:
            self._end = shown
        now, last = (pts, self._last_pts) if dts is None else (dts, self._last_dts)
        if now is not None and last is not None and self._begins_anew(packet, now, last):
            self._offset = max(last + step - now, self._end - shown)
            self._last_dts = None
            self.joints += 1
        if dts is not None:
            self._last_dts = dts + self._offset
        self._last_pts = shown + self._offset
        self._end = max(self._end, shown + self._offset + step)
        packet.pts = None if pts is None else pts + self._offset
        packet.dts = None if dts is None else dts + self._offset

    def _begins_anew(self, packet: av.Packet, now: int, last: int) -> bool:
        passed_s = (now + self._offset - last) * packet.time_base
        frames_s = REORDERED_FRAMES * self._step(packet) * packet.time_base
        back_s = max(REORDERED_S, frames_s) if packet.dts is None else BACK_S
        return passed_s < -back_s or (self._jumps and passed_s > JUMP_S)

    def _step(self, packet: av.Packet) -> int:
        return packet.duration or round(self._step_s / packet.time_base)


def time_line(container: av.container.InputContainer, rate: Fraction | None) -> TimeLine:
    """Return a time line for the packets of one stream of the container.

    Args:
        rate: mean frames per second; None when unknown.
    """
    jumps = bool(container.format.flags & Flags.ts_discont.value)
    return TimeLine(1 / (rate or ASSUMED_RATE), jumps=jumps)


class PresentationOrder:
    """Finds frames that a decoder gives out after a frame that comes later."""

    def __init__(self) -> None:
        self._last: int | None = None

    def is_kept(self, pts: int | None) -> bool:
        """Check that the frame does not step back in time; a frame without a time does not."""
        if pts is None:
            return True
        if self._last is not None and pts < self._last:
            return False
        self._last = pts
        return True


class Timestamps:
    """Gives each frame, in presentation order, its time stamp.

    This is the frame's own `pts`, except if it is missing or not later than the last one:
    - Some containers (AVI) store only the order of decoding. From the first such frame on the
      decoding time stamp is used, as in FFmpeg's "best effort".
    - Without a later one of both, a time stamp is one step after the last one.

    `estimated` counts the time stamps that are not the frames' own.

    Args:
        step: mean step from one frame to the next, in units of the time stamps.
    """

    def __init__(self, step: Fraction) -> None:
        self.estimated = 0
        self._step = step
        self._last: int | None = None
        self._next = Fraction(0)
        self._disordered = False

    def stamp(self, pts: int | None, dts: int | None) -> int:
        """Return the time stamp of the next frame, later than the last one."""
        self._disordered |= pts is not None and not self._advances(pts)
        chosen = self._choose(pts, dts)
        self.estimated += chosen != pts
        # The sum is a fraction, so that a row of estimates does not drift.
        self._next = (self._next if chosen == round(self._next) else chosen) + self._step
        self._last = chosen
        return chosen

    def _choose(self, pts: int | None, dts: int | None) -> int:
        if pts is not None and not self._disordered:
            return pts
        if dts is not None and (pts is None or self._advances(dts)):
            return dts
        if pts is not None and self._advances(pts):
            return pts
        return round(self._next) if self._last is None else max(round(self._next), self._last + 1)

    def _advances(self, stamp: int) -> bool:
        return self._last is None or stamp > self._last
