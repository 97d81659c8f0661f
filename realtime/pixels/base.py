"""Defines the interface of an image in memory, whatever its form."""

from abc import ABC, abstractmethod

import av
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Box, Image

Places = NDArray[np.intp]
"""Numbers of rows or columns from 0, `(n,)`."""


class Pixels(ABC):
    """Represents an image in one of its forms; any thread may read it, and nobody writes to it.

    A box lies inside the image. For `Planes` its bounds are even, because one chroma sample
    belongs to 2x2 pixels. `disjoint` makes such boxes.

    Attributes:
        size: width and height in pixels.
    """

    size: tuple[int, int]

    @abstractmethod
    def bgr(self) -> Image:
        """Return the whole image as `(H, W, 3) uint8` BGR, made once and read-only."""

    def write_bgr(self, image: Image) -> None:
        """Write the whole image into `(H, W, 3) uint8`."""
        np.copyto(image, self.bgr())

    @abstractmethod
    def crop(self, box: Box) -> "Pixels":
        """Return the image in a box as a view that reads nothing outside the box.

        Raises:
            ValueError: the box is not inside the image, or its odd bounds cut chroma samples.
        """

    @abstractmethod
    def patch(self, box: Box) -> Image:
        """Return a new `(h, w, 3) uint8` BGR of a box; raise ValueError as `crop` does."""

    @abstractmethod
    def sample(self, rows: Places, columns: Places) -> Image:
        """Return a new BGR image of the pixels where these rows and columns cross.

        It is `(len(rows), len(columns), 3) uint8` and equals `bgr()[np.ix_(rows, columns)]`.

        Raises:
            IndexError: a row or a column is not in the image.
        """

    @abstractmethod
    def resize(self, size: tuple[int, int]) -> Image:
        """Return a new, contiguous `(height, width, 3) uint8` BGR of this width and height.

        Planes become BGR when they are small, so two forms of one image differ by some levels.
        """

    @abstractmethod
    def yuv420p(self) -> av.VideoFrame:
        """Return a new `yuv420p` frame for a video encoder, in BT.709, limited range.

        Samples from a decoder keep their bits where no overlay covers them. Odd sides are made
        even: the edge is repeated.
        """


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Raise ValueError unless a box lies inside an image of (width, height) pixels."""
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]):
        raise ValueError(f"box {box} is empty or not inside the image of {size[0]}x{size[1]}")


def check_places(rows: Places, columns: Places, size: tuple[int, int]) -> None:
    """Raise IndexError unless all rows and columns are in an image of (width, height) pixels."""
    for name, places, end in (("row", rows, size[1]), ("column", columns, size[0])):
        if places.size and not (places.min() >= 0 and places.max() < end):
            raise IndexError(f"{name}s {places.min()} to {places.max()} of an image with {end}")
