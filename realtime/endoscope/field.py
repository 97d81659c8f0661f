"""Finds the endoscope's visible field in a frame.

It is an octagon, circle or cut square. Around it are black borders, burned-in text and, at times,
a second small image.
"""

from fractions import Fraction
from itertools import product
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.frames import Field, Frame
from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.base import Pixels, Places
from qlumen.realtime.pixels.bgr_image import BgrImage

LOOK_PX = 320
"""Longer side of the thinned-out copy that is searched; it can be up to 1.5 times longer."""
LEAST_SIDE_PX = 16
"""Least side of that copy. Thinner frames are all field."""
OPENING_SHARE = 1 / 36
"""Bright things thinner than this share of the copy's shorter side are text, not field."""
PART_SHARE = 0.1
"""Least area of a separate part of the field, as a share of the largest part. Dark folds may
split a field; a second image is smaller."""
WHOLE_SHARE = 0.985
"""A field with this share of the frame or more is the whole frame."""
SAME_IOU = 0.99
"""A new field with this IoU or more with the last one counts as the same field."""
GREEN_LEVEL = 60
GREEN_OVER_RED = 2.5
"""Green of the background of a scope-position image. Dyed mucosa is bluer and stays below."""
POSITION_SHARE = 0.005
"""Least share of the frame that such an image has."""
POSITION_FILLED = 0.6
"""Least share of its box that is green, because it is a rectangle."""
POSITION_COVERS = 0.5
"""An image that covers this share of the field or more is not cut out."""
T = TypeVar("T", bound=np.generic)

NOTHING_SEEN = np.zeros((0, 0), np.float32)
NO_SHAPE: Mask = np.zeros((0, 0), np.uint8)


def whole_field(frame_size: tuple[int, int]) -> Field:
    """Return the field of a frame of (width, height) pixels that is all field."""
    return Field((0, 0, *frame_size), None)


def find_field(image: Image) -> Field:
    """Find the field of an image that is not related to others, `(H, W, 3) uint8` BGR."""
    return FieldFinder()(Frame(0, 0, Fraction(1), BgrImage(image), 0))


class FieldFinder:
    """Finds the field, and keeps it through dark moments. It belongs to one video.

    Args:
        every_s: seconds of video between two searches; in between the last field is returned.
        forget_s: seconds that a place counts as field after it was last lit. Searches in a frame
            that is mostly dark do not count.
        level: level of the brightest channel, 0 to 255, from which a place is lit.
        least_share: least share of the frame that must be lit for a search to count.
    """

    def __init__(
        self,
        *,
        every_s: float = 1.0,
        forget_s: float = 30.0,
        level: int = 28,
        least_share: float = 0.1,
    ) -> None:
        self._every_s, self._forget_s = every_s, forget_s
        self._level, self._least_share = level, least_share
        self._size = (0, 0)
        self._looked_s = 0.0
        self._unlit_s = NOTHING_SEEN
        self._shape: Mask = NO_SHAPE
        self._field = Field((0, 0, 0, 0), None)

    def __call__(self, frame: Frame) -> Field:
        """Return the field of this frame and those before; the whole frame while nothing is lit.

        The same object is returned until the field changes.
        """
        since_s = frame.time_s - self._looked_s
        unrelated = frame.size != self._size or since_s < 0
        if unrelated:
            self._start(frame.size)
        if min(frame.size) >= LEAST_SIDE_PX and (unrelated or since_s >= self._every_s):
            self._looked_s = frame.time_s
            self._look(frame.pixels, min(since_s, self._forget_s / 2))
        return self._field

    @property
    def found(self) -> bool:
        """Check whether anything lit was seen. Until then the field is the whole frame."""
        return self._shape.size > 0

    def _start(self, size: tuple[int, int]) -> None:
        """Forget earlier frames."""
        self._size = width, height = size
        rows, columns = _places(size)
        self._unlit_s = np.full((rows.size, columns.size), np.inf, np.float32)
        self._shape = NO_SHAPE
        self._field = Field((0, 0, width, height), None)

    def _look(self, pixels: Pixels, since_s: float) -> None:
        small = pixels.sample(*_places(pixels.size))
        green = _green(small)
        lit = _remove_text(cv2.compare(_brightest(small), self._level, cv2.CMP_GE) & ~green)
        lit_pixels = cv2.countNonZero(lit)
        if lit_pixels == 0 or lit_pixels < self._least_share * lit.size:
            return
        self._unlit_s += np.float32(max(since_s, 0.0))
        self._unlit_s[lit > 0] = 0
        field = cv2.compare(self._unlit_s, self._forget_s, cv2.CMP_LE)
        self._take(_hull(field), green)

    def _take(self, hull: NDArray[np.int32], green: Mask) -> None:
        shape = np.zeros(green.shape, np.uint8)
        cv2.fillConvexPoly(shape, hull, 1)
        corner = _corner(green, shape)
        if corner is not None:
            x0, y0, x1, y1 = corner
            shape[y0:y1, x0:x1] = 0
        if self._shape.size and _iou(shape, self._shape) >= SAME_IOU:
            return
        self._shape = shape
        self._field = _enlarge(hull, corner, _step(self._size), self._size)


def crop(image: NDArray[T], box: Box) -> NDArray[T]:
    """Cut a half-open box out of `(H, W, ...)`, as a view."""
    x0, y0, x1, y1 = box
    return image[y0:y1, x0:x1]


def _step(size: tuple[int, int]) -> int:
    return max(1, min(round(max(size) / LOOK_PX), min(size) // LEAST_SIDE_PX))


def _places(size: tuple[int, int]) -> tuple[Places, Places]:
    """Return the rows and columns that are searched."""
    step = _step(size)
    return np.arange(step // 2, size[1], step), np.arange(step // 2, size[0], step)


def _brightest(small: Image) -> Mask:
    blue, green, red = cv2.split(small)
    return cv2.max(cv2.max(blue, green), red)


def _green(small: Image) -> Mask:
    """Set 255 on the green of a scope-position image."""
    _, green, red = cv2.split(small)
    greener = cv2.compare(green, cv2.multiply(red, GREEN_OVER_RED), cv2.CMP_GT)
    return greener & cv2.compare(green, GREEN_LEVEL, cv2.CMP_GE)


def _remove_text(lit: Mask) -> Mask:
    side = 2 * round(OPENING_SHARE / 2 * min(lit.shape)) + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(lit, cv2.MORPH_OPEN, element, borderType=cv2.BORDER_REPLICATE)


def _hull(lit: Mask) -> NDArray[np.int32]:
    """Return the hull around the largest lit part and those of like size."""
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(one) for one in contours]
    parts = [c for c, area in zip(contours, areas, strict=True) if area >= PART_SHARE * max(areas)]
    return cv2.convexHull(np.concatenate(parts)).reshape(-1, 2)


def _corner(green: Mask, shape: Mask) -> Box | None:
    """Return the box from a scope-position image to the nearest corner, if it overlaps the field.

    A field cut in this way has no hole.
    """
    if cv2.countNonZero(green) < POSITION_SHARE * green.size:
        return None
    _, _, facts, _ = cv2.connectedComponentsWithStats(_remove_text(green))
    height, width = green.shape
    for x, y, w, h, area in facts[1:].tolist():
        if area < max(POSITION_FILLED * w * h, POSITION_SHARE * green.size):
            continue
        left, top = x + w / 2 < width / 2, y + h / 2 < height / 2
        x0, x1 = (0, x + w) if left else (x, width)
        y0, y1 = (0, y + h) if top else (y, height)
        covered = cv2.countNonZero(shape[y0:y1, x0:x1])
        if 0 < covered < POSITION_COVERS * cv2.countNonZero(shape):
            return x0, y0, x1, y1
    return None


def _iou(a: Mask, b: Mask) -> float:
    return cv2.countNonZero(a & b) / max(1, cv2.countNonZero(a | b))


def _enlarge(
    hull: NDArray[np.int32], corner: Box | None, step: int, size: tuple[int, int]
) -> Field:
    """Enlarge the field of the small copy to the frame. Each small pixel stands for its cell."""
    width, height = size
    cells = [hull * step + np.array(end, np.int32) for end in product((0, step - 1), repeat=2)]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.concatenate(cells)), 1)
    if corner is not None:
        x0, y0, x1, y1 = (side * step for side in corner)
        mask[y0:y1, x0:x1] = 0
    if cv2.countNonZero(mask) >= WHOLE_SHARE * mask.size:
        return Field((0, 0, width, height), None)
    x, y, w, h = cv2.boundingRect(mask)
    box = (x - x % 2, y - y % 2, *_make_even((x + w, y + h), size))
    full = cv2.countNonZero(mask) == (box[2] - box[0]) * (box[3] - box[1])
    return Field(box, None if full else mask)


def _make_even(corner: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Round up to even numbers, within the size."""
    (x, y), (width, height) = corner, size
    return min(x + x % 2, width), min(y + y % 2, height)
