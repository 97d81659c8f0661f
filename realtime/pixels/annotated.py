"""Holds an image with an overlay as the parts that differ from the image itself."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

import av
import cv2
import numpy as np

from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.base import Pixels, Places
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import pad_to_even, plane_samples, to_video_frame


class Patch(NamedTuple):
    """Holds a part of an image with the overlay on it.

    Attributes:
        box: position of the part in the image, half open.
        image: pixels of the part, `(h, w, 3) uint8` BGR.
        marked: `(h, w) uint8`, not 0 where the pixels differ from the image.
    """

    box: Box
    image: Image
    marked: Mask


class Annotated(Pixels):
    """Combines an image with patches; unmarked pixels are those of the image without overlay.

    Args:
        pixels: image without the overlay.
        patches: parts with the overlay, from the lowest. The bounds of their boxes are even, or
            those of the image. A box overlaps others only where all its pixels are marked.
        pool: pool that gives arrays for whole images.
    """

    def __init__(self, pixels: Pixels, patches: tuple[Patch, ...], pool: FramePool) -> None:
        self.size, self.patches = pixels.size, patches
        self._pixels, self._pool = pixels, pool
        self._composing = threading.Lock()
        self._whole: BgrImage | None = None

    def bgr(self) -> Image:
        return self._composite().bgr()

    def crop(self, box: Box) -> Pixels:
        return self._composite().crop(box)

    def patch(self, box: Box) -> Image:
        return self._composite().patch(box)

    def sample(self, rows: Places, columns: Places) -> Image:
        return self._composite().sample(rows, columns)

    def resize(self, size: tuple[int, int]) -> Image:
        return self._composite().resize(size)

    def yuv420p(self) -> av.VideoFrame:
        """Return the image's own frame with the marked pixels painted.

        Chroma is painted for each 2x2 pixels of which one is marked.
        """
        frame = self._pixels.yuv420p()
        for patch in self.patches:
            _paint(frame, patch)
        return frame

    def _composite(self) -> BgrImage:
        with self._composing:
            if self._whole is None:
                self._whole = BgrImage(self._compose() if self.patches else self._pixels.bgr())
            return self._whole

    def _compose(self) -> Image:
        image = self._pool.take((*self.size[::-1], 3))
        self._pixels.write_bgr(image)
        for (x0, y0, x1, y1), patch, marked in self.patches:
            cv2.copyTo(patch, marked, image[y0:y1, x0:x1])
        return image


def disjoint(boxes: Iterable[Box], size: tuple[int, int]) -> list[Box]:
    """Return boxes that cover these without overlap, with even bounds or those of the image.

    Args:
        size: width and height of the image in pixels.
    """
    separate: list[Box] = []
    for x0, y0, x1, y1 in boxes:
        box = (x0 - x0 % 2, y0 - y0 % 2, min(x1 + x1 % 2, size[0]), min(y1 + y1 % 2, size[1]))
        while touched := [other for other in separate if _overlap(box, other)]:
            separate = [other for other in separate if other not in touched]
            box = _around([box, *touched])
        separate.append(box)
    return separate


def _paint(frame: av.VideoFrame, patch: Patch) -> None:
    """Write the marked pixels of a patch into a `yuv420p` frame."""
    x0, y0, _, _ = patch.box
    marked = pad_to_even(patch.marked)
    touched = marked[::2, ::2] | marked[1::2, ::2] | marked[::2, 1::2] | marked[1::2, 1::2]
    painted, masks = to_video_frame(patch.image).planes, (marked, touched, touched)
    for plane, fresh, mask, step in zip(frame.planes, painted, masks, (1, 2, 2), strict=True):
        height, width = mask.shape
        part = np.s_[y0 // step : y0 // step + height, x0 // step : x0 // step + width]
        cv2.copyTo(plane_samples(fresh), mask, plane_samples(plane)[part])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
