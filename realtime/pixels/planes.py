"""Holds an image as FFmpeg decodes it, for stages that do not need all of it in BGR."""

import threading

import av
import numpy as np

from qlumen.kernels.yuv420 import sample_yuv420, yuv420_to_bgr
from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.base import Pixels, Places, check_box, check_places
from qlumen.realtime.pixels.colour import BT709, decoding, to_bgr
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.resize import resize
from qlumen.realtime.pixels.yuv import frame_lines, plane_samples, to_video_frame


class Planes(Pixels):
    """Holds an upright 8-bit 4:2:0 image with even sides (BT.709, limited range), as decoded.

    The decoder predicts from the samples, so nobody may write to them. A crop also holds the
    decoder's whole frame.

    Args:
        frame: `yuv420p` frame.
        pool: pool that gives the array for the whole image in BGR; None for a new array.
        box: part of the frame to use, half open, with even bounds; None for all.

    Attributes:
        frame: whole `yuv420p` frame.
        luma: `(H, W) uint8`.
        chroma: Cb and Cr, `(H / 2, W / 2) uint8` each.
    """

    def __init__(
        self, frame: av.VideoFrame, pool: FramePool | None = None, box: Box | None = None
    ) -> None:
        self.frame = frame
        x0, y0, x1, y1 = self._box = box or (0, 0, frame.width, frame.height)
        self.size = (x1 - x0, y1 - y0)
        self._lines = luma, *chroma = frame_lines(frame)
        self.luma = luma[y0:y1, x0:x1]
        self.chroma = [plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] for plane in chroma]
        self._pool = pool
        self._converting = threading.Lock()
        self._bgr: Image | None = None

    def bgr(self) -> Image:
        with self._converting:
            if self._bgr is None:
                shape = (*self.luma.shape, 3)
                image = self._pool.take(shape) if self._pool else np.empty(shape, np.uint8)
                self._convert(0, 0, image)
                image.flags.writeable = False
                self._bgr = image
            return self._bgr

    def write_bgr(self, image: Image) -> None:
        if self._bgr is None:
            self._convert(0, 0, image)
        else:
            np.copyto(image, self._bgr)

    def crop(self, box: Box) -> "Planes":
        self._check(box)
        left, top, _, _ = self._box
        x0, y0, x1, y1 = box
        return Planes(self.frame, None, (left + x0, top + y0, left + x1, top + y1))

    def patch(self, box: Box) -> Image:
        self._check(box)
        x0, y0, x1, y1 = box
        image = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        self._convert(x0, y0, image)
        return image

    def sample(self, rows: Places, columns: Places) -> Image:
        check_places(rows, columns, self.size)
        left, top, _, _ = self._box
        image = np.empty((len(rows), len(columns), 3), np.uint8)
        sample_yuv420(*self._lines, rows + top, columns + left, _MAPPING, image)
        return image

    def resize(self, size: tuple[int, int]) -> Image:
        """Resize each plane, then convert: 0.3 ms from 1080p to 352x352 on one core, not 2.1 ms."""
        return to_bgr([resize(plane, size) for plane in (self.luma, *self.chroma)])

    def yuv420p(self) -> av.VideoFrame:
        copy = av.VideoFrame(*self.size, "yuv420p")
        for plane, source in zip(copy.planes, (self.luma, *self.chroma), strict=True):
            np.copyto(plane_samples(plane), source)
        return copy

    def _convert(self, x0: int, y0: int, image: Image) -> None:
        """Write the box of `image`'s size that begins at (x0, y0)."""
        left, top, _, _ = self._box
        yuv420_to_bgr(*self._lines, left + x0, top + y0, _MAPPING, image)

    def _check(self, box: Box) -> None:
        check_box(box, self.size)
        if any(bound % 2 for bound in box):
            raise ValueError(f"box {box} cuts chroma samples; give even bounds")


def warm_up() -> None:
    """Compile the conversions of `Planes` in both directions."""
    planes = Planes(to_video_frame(np.zeros((2, 2, 3), np.uint8)))
    planes.bgr()
    planes.sample(np.zeros(1, np.intp), np.zeros(1, np.intp))


_MAPPING = decoding(BT709, full=False)
