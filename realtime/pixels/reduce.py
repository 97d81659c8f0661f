"""Makes a small copy of a part of an image, for stages that need no full resolution."""

import cv2
import numpy as np

from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.base import Pixels, Places


def reduce(pixels: Pixels, box: Box, size: tuple[int, int]) -> Image:
    """Make a new `(height, width, 3) uint8` BGR of a box, not larger than the box.

    The box is sampled at twice that size and then averaged. Sampling makes it cheap, and aliasing
    adds little. Planes need even bounds (`Pixels`).
    """
    x0, y0, x1, y1 = box
    width, height = size
    if x1 - x0 > 2 * width and y1 - y0 > 2 * height:
        view = pixels.sample(y0 + _middles(2 * height, y1 - y0), x0 + _middles(2 * width, x1 - x0))
    else:
        view = pixels.patch(box)
    return cv2.resize(view, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _middles(count: int, side: int) -> Places:
    """Return the pixels at the middles of `count` equal parts of a side."""
    return (2 * np.arange(count) + 1) * side // (2 * count)
