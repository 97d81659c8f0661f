"""Computes coarse blocks slowly and readably, in exact fractions (an oracle)."""

from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray


def naive_pixelate(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Give every pixel the mean of its block, rounded half up."""
    result = np.empty_like(image)
    for y, x, channel in np.ndindex(image.shape):
        top, left = y // side * side, x // side * side
        block = image[top : top + side, left : left + side, channel].ravel().tolist()
        result[y, x, channel] = floor(Fraction(sum(block), len(block)) + Fraction(1, 2))
    return result
