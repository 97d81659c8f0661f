"""A picture with the overlay, as the parts that differ from the picture itself."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool


class Patch(NamedTuple):
    """Attributes:
    box: half open.
    image: its pixels, `(h, w, 3) uint8` BGR.
    marked: `(h, w) uint8`, not 0 where they differ from the picture.
    """

    box: Box
    image: Image
    marked: Mask


class Drawn:
    """Any thread may read it.

    Attributes:
        patches: their boxes do not overlap, and their bounds are even, or the picture's own.
    """

    def __init__(self, pixels: Image | Planes, patches: tuple[Patch, ...], pool: FramePool) -> None:
        """`pixels` is the picture without overlay; `pool` gives arrays for whole pictures."""
        self.patches = patches
        self._pixels, self._pool = pixels, pool
        self._composing = threading.Lock()
        self._image: Image | None = None

    def image(self) -> Image:
        """All of it as `(H, W, 3) uint8` BGR, not to be written to; put together once.

        Pixels that are not marked are those of the picture.
        """
        with self._composing:
            if self._image is None:
                self._image = self._composed()
            return self._image

    def _composed(self) -> Image:
        bare = self._pixels.bgr() if isinstance(self._pixels, Planes) else self._pixels
        if not self.patches:
            view = bare.view()
            view.flags.writeable = False
            return view
        image = self._pool.take(bare.shape)
        np.copyto(image, bare)
        for (x0, y0, x1, y1), patch, marked in self.patches:
            cv2.copyTo(patch, marked, image[y0:y1, x0:x1])
        return image


def part(pixels: Image | Planes, box: Box) -> Image:
    """A new `(h, w, 3) uint8` BGR of a box, which has even bounds where `pixels` are planes."""
    x0, y0, x1, y1 = box
    return pixels.patch(box) if isinstance(pixels, Planes) else pixels[y0:y1, x0:x1].copy()


def disjoint(boxes: Iterable[Box], size: tuple[int, int]) -> list[Box]:
    """Boxes that cover these and do not overlap, with even bounds but for the picture's own.

    Args:
        size: width and height of the picture, px.
    """
    apart: list[Box] = []
    for x0, y0, x1, y1 in boxes:
        box = (x0 - x0 % 2, y0 - y0 % 2, min(x1 + x1 % 2, size[0]), min(y1 + y1 % 2, size[1]))
        while touched := [other for other in apart if _overlap(box, other)]:
            apart = [other for other in apart if other not in touched]
            box = _around([box, *touched])
        apart.append(box)
    return apart


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
