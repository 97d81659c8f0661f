"""Pictures of one size and times that increase: what a video encoder asks for."""

import av

from qlumen.errors import SinkError
from qlumen.realtime.frames import Frame, FrameResult
from qlumen.realtime.pixels.yuv import fit, padded, to_picture

MAX_SIDE_PX = 16384


class EncoderInput:
    """Made from the first frame, whose size and time base hold for all.

    Frames of another size are scaled to fit between black bars (`rescaled` counts them).
    A time stamp that does not come after the one before is moved to the next tick
    (`nudged` counts them); where the first is negative, all are moved to start at 0.
    A line on each of these is added to `notes`.

    Raises:
        SinkError: the frame is larger than x264 takes.
    """

    def __init__(self, frame: Frame, notes: list[str]) -> None:
        self.size = width, height = frame.size
        if max(self.size) > MAX_SIDE_PX:
            raise SinkError(
                f"frames of {width}x{height} are too large to record; x264 takes sides of up to "
                f"{MAX_SIDE_PX} px: leave out the recording or scale the source down"
            )
        self.time_base = frame.time_base
        self.rescaled = 0
        self.nudged = 0
        self._notes = notes
        self._shift = max(0, -frame.pts)
        self._last_pts = self._shift + frame.pts - 1
        if self._shift:
            notes.append("time stamps moved to start at 0: video files have no negative ones")
        if padded(self.size) != self.size:
            even = "{}x{}".format(*padded(self.size))
            notes.append(f"odd size {width}x{height} padded to {even}")

    def picture(self, result: FrameResult) -> av.VideoFrame:
        """Make what to encode for a result, at the first frame's size. See `Pixels.yuv420p`."""
        pixels = result.frame.pixels if result.annotated is None else result.annotated
        if pixels.size == self.size:
            return pixels.yuv420p()
        if not self.rescaled:
            self._notes.append("frames of another size scaled to that of the first")
        self.rescaled += 1
        return to_picture(fit(pixels.bgr(), self.size))

    def pts(self, frame: Frame) -> int:
        """The frame's time in units of `time_base`, after that of the frame before."""
        pts = round(frame.pts * frame.time_base / self.time_base) + self._shift
        if pts <= self._last_pts:
            if not self.nudged:
                self._notes.append("time stamps that did not increase moved to the next tick")
            self.nudged += 1
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts
