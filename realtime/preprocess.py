"""From a frame to the picture the network takes."""

import cv2
import numpy as np

from qlumen.realtime.frames import Image
from qlumen.realtime.geometry import Fit, Geometry


class Preprocessor:
    """Fits frames of any size into the network's input.

    Args:
        size: width and height of the input in pixels.
        fit: `stretch` fills it; `letterbox` keeps proportions, with black bars.
    """

    def __init__(self, size: tuple[int, int], fit: Fit) -> None:
        self.size, self.fit = size, fit

    def __call__(self, image: Image) -> Image:
        """`(H, W, 3) uint8` to a new `(height, width, 3) uint8`, channels as they were."""
        height, width = image.shape[:2]
        inner = Geometry.of((width, height), self.size, self.fit)
        return _padded(_resized(image, (inner.inner_w, inner.inner_h)), inner, self.size)


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """Average pairs of pixels while the image stays larger than `size`, then interpolate.

    Against aliasing, at a tenth of the time of averaging by a broken factor
    (1080p to 352x352: 0.7 ms, `INTER_AREA` alone 8 ms on one core).
    """
    height, width = image.shape[:2]
    while width >= 2 * size[0] and height >= 2 * size[1]:
        width, height = (width + 1) // 2, (height + 1) // 2
        even = image.shape[1] == 2 * width and image.shape[0] == 2 * height
        method = cv2.INTER_AREA if even else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=method).astype(
            np.uint8, copy=False
        )
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def _padded(inner: Image, geometry: Geometry, size: tuple[int, int]) -> Image:
    width, height = size
    if inner.shape == (height, width, 3):
        return inner
    padded = np.zeros((height, width, 3), np.uint8)
    top, left = geometry.offset_y, geometry.offset_x
    padded[top : top + geometry.inner_h, left : left + geometry.inner_w] = inner
    return padded
