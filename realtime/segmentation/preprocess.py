"""Fits a frame into the image that the network takes."""

import numpy as np

from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.segmentation.geometry import Fit, Geometry


class Preprocessor:
    """Fits frames of any size into the network's input.

    Args:
        size: width and height of the input in pixels.
        fit: `stretch` to fill it, or `letterbox` to keep proportions, with black bars.
    """

    def __init__(self, size: tuple[int, int], fit: Fit) -> None:
        self.size, self.fit = size, fit

    def __call__(self, pixels: Pixels) -> Image:
        """Make a new `(height, width, 3) uint8` BGR image of an image of any size."""
        geometry = Geometry.of(pixels.size, self.size, self.fit)
        inner = pixels.resize((geometry.inner_w, geometry.inner_h))
        width, height = self.size
        if inner.shape == (height, width, 3):
            return inner
        padded = np.zeros((height, width, 3), np.uint8)
        top, left = geometry.offset_y, geometry.offset_x
        padded[top : top + geometry.inner_h, left : left + geometry.inner_w] = inner
        return padded
