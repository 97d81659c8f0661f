"""Hides what may identify a patient before a frame is written or sent."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from qlumen.errors import ConfigError
from qlumen.kernels.pixelate import pixelate
from qlumen.realtime.frames import Condition, Field
from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.pool import FramePool

Shares = tuple[float, float, float, float]
"""`x0, y0, x1, y1` as shares of the frame's width and height, 0 to 1."""

BLOCKS_DOWN = 8
"""Blocks in the height of a pixelated image. A face as tall as the image then has 8 by about 6
blocks. In Harmon's and Julesz's images faces were recognised at 16 by 16."""


class Privacy:
    """Hides parts of images. The same image, field and condition give the same result.

    Args:
        regions: regions that are always blacked out.
        outside_field: whether all except the endoscope's visible field is blacked out.
        pixelate_outside_body: whether images from outside the body are made unrecognisable.

    Raises:
        ConfigError: a region is empty or not within the frame.
    """

    def __init__(
        self, *, regions: Sequence[Shares], outside_field: bool, pixelate_outside_body: bool
    ) -> None:
        for region in regions:
            _check(region)
        self._regions = tuple(regions)
        self._outside_field = outside_field
        self._pixelate = pixelate_outside_body
        self._pool = FramePool()

    @property
    def active(self) -> bool:
        """Check whether any image can change."""
        return bool(self._regions) or self._outside_field or self._pixelate

    def hides(self, field: Field, condition: Condition, frame_size: tuple[int, int]) -> bool:
        """Check whether anything is hidden in a frame of (width, height) pixels."""
        covered = self._covers(field, frame_size)
        return bool(self._regions) or covered or self._pixelates(condition)

    def __call__(self, image: Image, field: Field, condition: Condition) -> Image:
        """Hide parts of `(H, W, 3) uint8` BGR in a new array; with nothing to hide return `image`.

        Bytes that are blacked out have no influence on the result, pixelated or not.
        """
        height, width = image.shape[:2]
        if not self.hides(field, condition, (width, height)):
            return image
        boxes = [_pixels(region, width, height) for region in self._regions]
        covered = field if self._covers(field, (width, height)) else None
        outside_body = self._pixelates(condition)
        hidden = self._black_out(image, boxes, covered)
        if not outside_body:
            return hidden
        blocks = self._pool.take(image.shape)
        pixelate(hidden, max(1, math.ceil(height / BLOCKS_DOWN)), blocks)
        return self._black_out(blocks, boxes, covered)

    def _covers(self, field: Field, frame_size: tuple[int, int]) -> bool:
        return self._outside_field and not _is_whole(field, *frame_size)

    def _pixelates(self, condition: Condition) -> bool:
        return self._pixelate and condition is Condition.OUT_OF_BODY

    def _black_out(self, image: Image, boxes: Sequence[Box], field: Field | None) -> Image:
        hidden = self._pool.take(image.shape)
        if field is None:
            np.copyto(hidden, image)
        else:
            _copy_only(field, image, hidden)
        for x0, y0, x1, y1 in boxes:
            hidden[y0:y1, x0:x1] = 0
        return hidden


def _check(region: Shares) -> None:
    x0, y0, x1, y1 = region
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ConfigError(
            f"privacy region {list(region)}: use x0, y0, x1, y1 as shares of the frame with "
            "0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1"
        )


def _pixels(region: Shares, width: int, height: int) -> Box:
    """Round outwards, so that no pixel that the region touches is left."""
    x0, y0, x1, y1 = region
    return (
        math.floor(x0 * width), math.floor(y0 * height),
        math.ceil(x1 * width), math.ceil(y1 * height),
    )  # fmt: skip


def _is_whole(field: Field, width: int, height: int) -> bool:
    return field.mask is None and field.box == (0, 0, width, height)


def _copy_only(field: Field, image: Image, hidden: Image) -> None:
    """Copy the pixels within the field, with 0 around them."""
    hidden.fill(0)
    x0, y0, x1, y1 = field.box
    inside = np.s_[y0:y1, x0:x1]
    if field.mask is None:
        hidden[inside] = image[inside]
    else:
        cv2.copyTo(image[inside], field.mask[inside], hidden[inside])
