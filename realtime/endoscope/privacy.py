"""What may identify a patient is hidden before a picture is written or sent."""

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
"""Blocks in the height of a pixelated picture. A face as tall as the picture then has 8 by
about 6 blocks; in Harmon's and Julesz's pictures faces were recognised at 16 by 16."""


class Privacy:
    """Hides parts of pictures. The same picture, field and condition give the same result.

    Args:
        regions: to black out, always.
        outside_field: black out all but the endoscope's visible field.
        pixelate_outside_body: make pictures from out of the body unrecognisable.

    Raises:
        ConfigError: a region that is empty or not within the frame.
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
        """Whether any picture can come out changed."""
        return bool(self._regions) or self._outside_field or self._pixelate

    def __call__(self, image: Image, field: Field, condition: Condition) -> Image:
        """Hide what is to be hidden of `(H, W, 3) uint8` BGR: in an array of its own, or
        the same object if that is nothing.

        No byte of what is blacked out has an influence on the result, pixelated or not.
        """
        height, width = image.shape[:2]
        boxes = [_pixels(region, width, height) for region in self._regions]
        covered = field if self._outside_field and not _is_whole(field, width, height) else None
        outside_body = self._pixelate and condition is Condition.OUT_OF_BODY
        if not (boxes or covered or outside_body):
            return image
        hidden = self._black_out(image, boxes, covered)
        if not outside_body:
            return hidden
        blocks = self._pool.take(image.shape)
        pixelate(hidden, max(1, math.ceil(height / BLOCKS_DOWN)), blocks)
        return self._black_out(blocks, boxes, covered)

    def _black_out(self, image: Image, boxes: Sequence[Box], field: Field | None) -> Image:
        """A copy."""
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
            f"privacy region {list(region)}: want x0, y0, x1, y1 as shares of the frame with "
            "0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1"
        )


def _pixels(region: Shares, width: int, height: int) -> Box:
    """Rounded outwards: no pixel that the region touches is left."""
    x0, y0, x1, y1 = region
    return (
        math.floor(x0 * width), math.floor(y0 * height),
        math.ceil(x1 * width), math.ceil(y1 * height),
    )  # fmt: skip


def _is_whole(field: Field, width: int, height: int) -> bool:
    return field.mask is None and field.box == (0, 0, width, height)


def _copy_only(field: Field, image: Image, hidden: Image) -> None:
    """The pixels within the field, and 0 around them."""
    hidden.fill(0)
    x0, y0, x1, y1 = field.box
    inside = np.s_[y0:y1, x0:x1]
    if field.mask is None:
        hidden[inside] = image[inside]
    else:
        cv2.copyTo(image[inside], field.mask[inside], hidden[inside])
