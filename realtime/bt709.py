"""Between BGR and the colour differences of HD video, 8 bits, limited range.

ITU-R BT.709-6, items 3.2 to 3.5.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.frames import Image

RED, BLUE = 0.2126, 0.0722
LUMA_RANGE, LUMA_BLACK = 219, 16
CHROMA_RANGE, CHROMA_ZERO = 224, 128


def to_yuv(image: Image) -> NDArray[np.uint8]:
    """`(H, W, 3) uint8` BGR as `(H, W, 3) uint8` Y, Cb, Cr; within a level of the formula."""
    return cv2.transform(image, _BGR_TO_YUV)


def to_bgr(channels: Sequence[NDArray[np.uint8]]) -> Image:
    """Y, Cb and Cr, `(H, W) uint8` each, as `(H, W, 3) uint8` BGR; within a level."""
    return cv2.transform(cv2.merge(channels), _YUV_TO_BGR)


def _bgr_to_yuv() -> NDArray[np.float64]:
    luma = np.array([BLUE, 1 - RED - BLUE, RED])
    blue = (np.array([1, 0, 0]) - luma) / (1 - BLUE) / 2
    red = (np.array([0, 0, 1]) - luma) / (1 - RED) / 2
    scaled = np.stack([luma * LUMA_RANGE, blue * CHROMA_RANGE, red * CHROMA_RANGE]) / 255
    return np.column_stack([scaled, [LUMA_BLACK, CHROMA_ZERO, CHROMA_ZERO]])


def _inverse(mapping: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of `x -> A x + b`, given as `[A b]`."""
    back = np.linalg.inv(mapping[:, :3])
    return np.column_stack([back, -back @ mapping[:, 3]])


_BGR_TO_YUV = _bgr_to_yuv()
_YUV_TO_BGR = _inverse(_BGR_TO_YUV)
