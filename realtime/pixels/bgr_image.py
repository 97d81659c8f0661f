"""Holds an image as an array of BGR."""

import av
import numpy as np

from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.base import Pixels, Places, check_box, check_places
from qlumen.realtime.pixels.resize import resize
from qlumen.realtime.pixels.yuv import to_video_frame


class BgrImage(Pixels):
    """Wraps an array without a copy; boxes may have any bounds.

    Args:
        image: `(H, W, 3) uint8` BGR, which nobody may write to any more.

    Raises:
        ValueError: the array has another shape or type.
    """

    def __init__(self, image: Image) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image is {image.shape} {image.dtype}; it needs (H, W, 3) uint8")
        self.size = (image.shape[1], image.shape[0])
        self._image = image.view()
        self._image.flags.writeable = False

    def bgr(self) -> Image:
        return self._image

    def crop(self, box: Box) -> "BgrImage":
        check_box(box, self.size)
        x0, y0, x1, y1 = box
        return BgrImage(self._image[y0:y1, x0:x1])

    def patch(self, box: Box) -> Image:
        return self.crop(box).bgr().copy()

    def sample(self, rows: Places, columns: Places) -> Image:
        check_places(rows, columns, self.size)
        return self._image[np.ix_(rows, columns)]

    def resize(self, size: tuple[int, int]) -> Image:
        return np.ascontiguousarray(resize(self._image, size))

    def yuv420p(self) -> av.VideoFrame:
        return to_video_frame(self._image)
