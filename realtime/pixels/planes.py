"""A decoded picture as FFmpeg holds it, for stages that need less than all of it in BGR."""

import threading

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import yuv420_to_bgr
from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.colour import BT709, decoding
from qlumen.realtime.pixels.pool import FramePool

Plane = NDArray[np.uint8]


class Planes:
    """4:2:0 of 8 bits, BT.709, limited range, with even sides, upright: what recordings hold.

    Any thread may read it. Not to be written to: the decoder predicts from it.

    Args:
        frame: `yuv420p`.
        pool: all of the picture in BGR, if ever it is asked for, is one of its arrays.

    Attributes:
        frame: `yuv420p`.
        size: width and height in pixels.
        luma: `(H, W) uint8`.
        chroma: Cb and Cr, `(H / 2, W / 2) uint8` each.
    """

    def __init__(self, frame: av.VideoFrame, pool: FramePool) -> None:
        self.frame = frame
        self.size = (frame.width, frame.height)
        self._lines = decoded_lines(frame)
        self.luma, *self.chroma = (
            lines[: plane.height, : plane.width]
            for lines, plane in zip(self._lines, frame.planes, strict=True)
        )
        self._pool = pool
        self._converting = threading.Lock()
        self._bgr: Image | None = None

    def bgr(self) -> Image:
        """All of it as `(H, W, 3) uint8` BGR; converted once."""
        with self._converting:
            if self._bgr is None:
                width, height = self.size
                self._bgr = self._pool.take((height, width, 3))
                yuv420_to_bgr(*self._lines, 0, 0, _MAPPING, self._bgr)
            return self._bgr

    def patch(self, box: Box) -> Image:
        """The pixels of a half-open box with even bounds as a new `(h, w, 3) uint8` BGR."""
        x0, y0, x1, y1 = box
        image = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        yuv420_to_bgr(*self._lines, x0, y0, _MAPPING, image)
        return image


def plane_lines(plane: av.video.plane.VideoPlane) -> Plane:
    """A plane where FFmpeg keeps it, C-contiguous `(rows, line) uint8`: its samples, and what is
    between the end of a row and the next."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def samples(plane: av.video.plane.VideoPlane) -> Plane:
    """A plane's samples where FFmpeg keeps them, `(h, w)`; rows as far apart as it likes."""
    return plane_lines(plane)[: plane.height, : plane.width]


def decoded_lines(frame: av.VideoFrame) -> tuple[Plane, Plane, Plane]:
    """`plane_lines` of luma, Cb and Cr, not to be written to; of `nv12`, whose chroma alternates,
    Cb and Cr are copies."""
    luma, *chroma = (plane_lines(plane) for plane in frame.planes)
    blue, red = cv2.split(chroma[0].reshape(len(chroma[0]), -1, 2)) if len(chroma) == 1 else chroma
    for plane in (luma, blue, red):
        plane.flags.writeable = False
    return luma, blue, red


_MAPPING = decoding(BT709, full=False)
