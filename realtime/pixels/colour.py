"""Converts between BGR and 8-bit YCbCr, as the standards of video say."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import ONE
from qlumen.realtime.pixels.arrays import Image

PEAK = 255
LUMA_RANGE, LUMA_BLACK = 219, 16
CHROMA_RANGE, CHROMA_ZERO = 224, 128

Mapping = NDArray[np.int32]
"""Table for the kernels in `yuv420`."""


class Matrix(NamedTuple):
    """Holds the weights of red and blue in luma; green has the rest of 1."""

    red: float
    blue: float


BT709 = Matrix(0.2126, 0.0722)
MATRICES = {
    1: BT709,
    4: Matrix(0.3, 0.11),
    5: Matrix(0.299, 0.114),
    6: Matrix(0.299, 0.114),
    7: Matrix(0.212, 0.087),
    9: Matrix(0.2627, 0.0593),
}
"""Keys are the numbers in ITU-T H.273, table 4."""


@cache
def decoding(matrix: Matrix, *, full: bool) -> Mapping:
    """Return the mapping from Y, Cb, Cr, `full` range or limited, to B, G, R."""
    return _to_fixed_point(_inverse(_bgr_to_yuv(matrix, full=full)))


@cache
def encoding(matrix: Matrix, *, full: bool) -> Mapping:
    """Return the mapping from B, G, R to Y, Cb, Cr, `full` range or limited."""
    return _to_fixed_point(_bgr_to_yuv(matrix, full=full))


def to_bgr(channels: Sequence[NDArray[np.uint8]]) -> Image:
    """Convert Y, Cb and Cr of BT.709, limited range, `(H, W) uint8` each, to `(H, W, 3) uint8` BGR,
    within a level."""
    return cv2.transform(cv2.merge(channels), _YUV_TO_BGR)


def _bgr_to_yuv(matrix: Matrix, *, full: bool) -> NDArray[np.float64]:
    """Return `[A b]` of the mapping `x -> A x + b` (ITU-R BT.709-6, items 3.2 to 3.5)."""
    luma = np.array([matrix.blue, 1 - matrix.red - matrix.blue, matrix.red])
    blue = (np.array([1, 0, 0]) - luma) / (1 - matrix.blue) / 2
    red = (np.array([0, 0, 1]) - luma) / (1 - matrix.red) / 2
    ranges = np.array([PEAK] * 3 if full else [LUMA_RANGE, CHROMA_RANGE, CHROMA_RANGE])
    scaled = np.stack([luma, blue, red]) * ranges[:, None] / PEAK
    return np.column_stack([scaled, [0 if full else LUMA_BLACK, CHROMA_ZERO, CHROMA_ZERO]])


def _inverse(mapping: NDArray[np.float64]) -> NDArray[np.float64]:
    back = np.linalg.inv(mapping[:, :3])
    return np.column_stack([back, -back @ mapping[:, 3]])


def _to_fixed_point(mapping: NDArray[np.float64]) -> Mapping:
    return np.round(mapping * ONE).astype(np.int32)


_YUV_TO_BGR = _inverse(_bgr_to_yuv(BT709, full=False))
