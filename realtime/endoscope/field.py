"""The endoscope's visible field in a frame: an octagon, circle or cut square amid black
borders, burned-in text and, at times, a second small picture."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.frames import Finding, Frame, Segmentation
from qlumen.realtime.pixels.arrays import Box, Image, Mask

LOOK_PX = 320
"""Longer side of the thinned-out copy that is looked at, up to 1.5 times that."""
LEAST_SIDE_PX = 16
"""Of that copy. Thinner pictures are all field."""
OPENING_SHARE = 1 / 36
"""Bright things thinner than this share of the copy's shorter side are text, not field."""
PART_SHARE = 0.1
"""A separate part of the field has at least this share of the largest part's area: folds in
the dark may part a field, a second picture is smaller."""
WHOLE_SHARE = 0.985
"""A field of so much of the frame is the whole frame."""
SAME_IOU = 0.99
"""A field found anew that agrees so well with the last one is taken for it."""
GREEN_LEVEL = 60
GREEN_OVER_RED = 2.5
"""The background of a scope-position picture. Dyed mucosa is bluer: its green stays below."""
POSITION_SHARE = 0.005
"""Of the frame, that such a picture has at least."""
POSITION_FILLED = 0.6
"""Of its box, that is green at least: it is a rectangle."""
POSITION_COVERS = 0.5
"""Of the field, less than so much."""
NOTHING_SEEN = np.zeros((0, 0), np.float32)
NO_SHAPE: Mask = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Attributes:
    box: tight around the field, pixels of the frame, half open.
    mask: `(H, W) uint8` of the whole frame, 1 inside, no holes; None: the whole box.
    """

    box: Box
    mask: Mask | None


class FieldFinder:
    """Finds the field, and keeps to it through dark moments. Belongs to one video.

    Args:
        every_s: seconds of video between two looks; in between the last field is returned.
        forget_s: how long a place counts as field after it was last lit. Looks at a picture
            that is mostly dark do not count.
        level: of the brightest channel, 0 to 255, from which a place is lit.
        least_share: of the frame that must be lit for a look to count.
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
        """The field of a frame, and of those before it; the whole frame while nothing is lit.

        The same object is returned until the field changes.
        """
        since_s = frame.time_s - self._looked_s
        anew = frame.size != self._size or since_s < 0
        if anew:
            self._start(frame.image)
        if min(frame.size) >= LEAST_SIDE_PX and (anew or since_s >= self._every_s):
            self._looked_s = frame.time_s
            self._look(frame.image, min(since_s, self._forget_s / 2))
        return self._field

    @property
    def found(self) -> bool:
        """Whether anything lit has been seen; until then the field is the whole frame."""
        return self._shape.size > 0

    def _start(self, image: Image) -> None:
        """Know nothing of earlier frames."""
        height, width = image.shape[:2]
        self._size = width, height
        self._unlit_s = np.full(_thinned(image).shape[:2], np.inf, np.float32)
        self._shape = NO_SHAPE
        self._field = Field((0, 0, width, height), None)

    def _look(self, image: Image, since_s: float) -> None:
        small = np.ascontiguousarray(_thinned(image))
        green = _green(small)
        lit = _without_text(cv2.compare(_brightest(small), self._level, cv2.CMP_GE) & ~green)
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
        self._field = _enlarged(hull, corner, _step(self._size), self._size)


def crop(image: Image, field: Field) -> Image:
    """The part of `image` in the field's box: a view."""
    x0, y0, x1, y1 = field.box
    return image[y0:y1, x0:x1]


def placed(segmentation: Segmentation, field: Field, frame_size: tuple[int, int]) -> Segmentation:
    """Put the segmentation of a field's crop back on its frame of (width, height) pixels.

    Mask and findings move by the box's corner. What lies outside of the field is removed;
    the pieces of a finding that was cut are measured anew and keep its score. The same
    object is returned if nothing moves and nothing is cut.
    """
    width, height = frame_size
    whole = field.box == (0, 0, width, height)
    pieces = [_pieces(one, field) for one in segmentation.findings]
    if whole and not any(cut for _, cut in pieces):
        return segmentation
    x0, y0, x1, y1 = field.box
    mask = np.zeros((height, width), np.uint8)
    mask[y0:y1, x0:x1] = segmentation.mask
    if field.mask is not None:
        mask &= field.mask
    findings = sorted((one for found, _ in pieces for one in found), key=_largest_first)
    return Segmentation(mask, tuple(findings), segmentation.probability)


def _pieces(finding: Finding, field: Field) -> tuple[list[Finding], bool]:
    """What the field leaves of a finding, moved to the frame, and whether it was cut."""
    corner = np.array(field.box[:2], np.int32)
    contour = finding.contour + corner
    x0, y0, x1, y1 = (np.array(finding.box) + np.tile(corner, 2)).tolist()
    moved = Finding((x0, y0, x1, y1), finding.score, finding.area_px, contour)
    if field.mask is None:
        return [moved], False
    patch = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(patch, [contour - np.array((x0, y0), np.int32)], 1)
    left = patch & field.mask[y0:y1, x0:x1]
    if np.array_equal(left, patch):
        return [moved], False
    chains, _ = cv2.findContours(left, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [_measured(chain, (x0, y0), finding.score) for chain in chains], True


def _measured(chain: NDArray[np.int32], corner: tuple[int, int], score: float) -> Finding:
    """OpenCV's contours start at the same pixel as ours and run the other way."""
    points = chain.reshape(-1, 2)
    x, y, w, h = cv2.boundingRect(chain)
    solid = np.zeros((h, w), np.uint8)
    cv2.fillPoly(solid, [points - np.array((x, y), np.int32)], 1)
    left, top = corner[0] + x, corner[1] + y
    contour = np.concatenate([points[:1], points[:0:-1]]) + np.array(corner, np.int32)
    return Finding((left, top, left + w, top + h), score, cv2.countNonZero(solid), contour)


def _largest_first(finding: Finding) -> tuple[int, int, int]:
    return -finding.area_px, finding.box[1], finding.box[0]


def _step(size: tuple[int, int]) -> int:
    return max(1, min(round(max(size) / LOOK_PX), min(size) // LEAST_SIDE_PX))


def _thinned(image: Image) -> Image:
    step = _step((image.shape[1], image.shape[0]))
    return image[step // 2 :: step, step // 2 :: step]


def _brightest(small: Image) -> Mask:
    blue, green, red = cv2.split(small)
    return cv2.max(cv2.max(blue, green), red)


def _green(small: Image) -> Mask:
    """255 on the green of a scope-position picture."""
    _, green, red = cv2.split(small)
    greener = cv2.compare(green, cv2.multiply(red, GREEN_OVER_RED), cv2.CMP_GT)
    return greener & cv2.compare(green, GREEN_LEVEL, cv2.CMP_GE)


def _without_text(lit: Mask) -> Mask:
    side = 2 * round(OPENING_SHARE / 2 * min(lit.shape)) + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(lit, cv2.MORPH_OPEN, element, borderType=cv2.BORDER_REPLICATE)


def _hull(lit: Mask) -> NDArray[np.int32]:
    """Around the largest part of what is lit and those of like size."""
    contours, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(one) for one in contours]
    parts = [c for c, area in zip(contours, areas, strict=True) if area >= PART_SHARE * max(areas)]
    return cv2.convexHull(np.concatenate(parts)).reshape(-1, 2)


def _corner(green: Mask, shape: Mask) -> Box | None:
    """The rectangle from a scope-position picture to the nearest corner of the frame, if it
    overlaps the field: so cut, the field has no hole."""
    if cv2.countNonZero(green) < POSITION_SHARE * green.size:
        return None
    _, _, facts, _ = cv2.connectedComponentsWithStats(_without_text(green))
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


def _enlarged(
    hull: NDArray[np.int32], corner: Box | None, step: int, size: tuple[int, int]
) -> Field:
    """From the small copy to the frame: each small pixel stands for its cell."""
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
    box = (x, y, x + w, y + h)
    full = cv2.countNonZero(mask) == w * h
    return Field(box, None if full else mask)
