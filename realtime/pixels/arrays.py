"""Defines the array types of an image in memory."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""`(H, W, 3) uint8`, BGR."""
Mask = NDArray[np.uint8]
"""`(H, W) uint8`, 1 inside the region and 0 elsewhere."""
Box = tuple[int, int, int, int]
"""`x0, y0, x1, y1` in pixels, half open."""
