"""A decoded picture as FFmpeg holds it, for stages that need less than all of it in BGR."""

import threading
from collections.abc import Callable

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.bt709 import to_bgr
from qlumen.realtime.frames import Box, Image

Plane = NDArray[np.uint8]


class Planes:
    """4:2:0 of 8 bits, BT.709, limited range, with even sides, upright: what recordings hold.

    Any thread may read it. Not to be written to: the decoder predicts from it.

    Attributes:
        frame: `yuv420p`.
        size: width and height in pixels.
        luma: `(H, W) uint8`.
        chroma: Cb and Cr, `(H / 2, W / 2) uint8` each.
    """

    def __init__(self, frame: av.VideoFrame, convert: Callable[[av.VideoFrame], Image]) -> None:
        """`convert` gives all of the picture as `(H, W, 3) uint8` BGR, if ever it is asked for."""
        self.frame = frame
        self.size = (frame.width, frame.height)
        self.luma, *self.chroma = (_read_only(samples(plane)) for plane in frame.planes)
        self._convert = convert
        self._converting = threading.Lock()
        self._bgr: Image | None = None

    def bgr(self) -> Image:
        """All of it as `(H, W, 3) uint8` BGR; converted once."""
        with self._converting:
            if self._bgr is None:
                self._bgr = self._convert(self.frame)
            return self._bgr

    def patch(self, box: Box) -> Image:
        """The pixels of a half-open box with even bounds as a new `(h, w, 3) uint8` BGR."""
        x0, y0, x1, y1 = box
        size = (x1 - x0, y1 - y0)
        part = slice(y0 // 2, y1 // 2), slice(x0 // 2, x1 // 2)
        full = [cv2.resize(p[part], size, interpolation=cv2.INTER_NEAREST) for p in self.chroma]
        return to_bgr([self.luma[y0:y1, x0:x1], *full])


def samples(plane: av.video.plane.VideoPlane) -> Plane:
    """A plane's samples where FFmpeg keeps them, `(h, w)`; rows as far apart as it likes."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _read_only(plane: Plane) -> Plane:
    plane.flags.writeable = False
    return plane
