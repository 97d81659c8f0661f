"""Checks whether a frame can be judged: in focus, lit, inside the body.

Thresholds were chosen on real stills so that almost all annotated ones stay clear: see
`docs/quality.md` and `bench/quality.py`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from qlumen.realtime.endoscope.field import crop
from qlumen.realtime.frames import Condition, Field
from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.reduce import reduce

ROWS = 192
"""Rows to which the field is reduced. Blur is judged in relation to the field's height."""
EDGE_ROWS = 6
"""Rows left out along the field's border, because its own edge is sharp in any frame."""
LEAST_SIDE_PX = 16
"""Smaller fields have nothing to measure."""
DARK_LEVEL = 40
WHITE_LEVEL = 245
BRIGHT_SHARE = 0.05
LEAST_JUDGED_SHARE = 0.1
RED_OVER_GREEN = 1.15
GREY_SPREAD = 0.12
"""Largest difference of a grey pixel's channels, as a share of the brightest channel."""
DEEP_RED_OVER_GREEN = 2.5
DEEP_RED_LEVEL = 120
SCALES_PX = (1.0, 2.0, 4.0)
WINDOWS = [cv2.getGaussianKernel(2 * int(4 * sigma) + 1, sigma) for sigma in SCALES_PX]
NO_WINDOW = np.ones((1, 1))
"""Leaves a direction as it is."""
LEAST_DETAIL = 0.3
"""Grey levels added to the coarse detail, so that noise on a flat frame is not sharp."""
NO_MASK: Mask = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True, slots=True)
class Measures:
    """Describes the pixels well inside the field, reduced to `ROWS` rows. Shares are 0 to 1.

    Attributes:
        judged: whether more than `LEAST_JUDGED_SHARE` of them are neither dark nor white.
        bright_level: level of the brightest channel, 0 to 255, that `BRIGHT_SHARE` of them reach.
        white_share: share with red and green from `WHITE_LEVEL`; glare on mucosa is yellow first.
        red_share: share with red above green by `RED_OVER_GREEN`, among those neither dark nor
            white; 1 if those are too few.
        grey_share: share with channels within `GREY_SPREAD`, among the same; 0 if too few.
        deep_red_share: share with red at `DEEP_RED_LEVEL`, above green by `DEEP_RED_OVER_GREEN`.
        sharpness: fine over coarse detail, the lower value of rows and columns, because blur by
            motion reduces it in one direction only. Detail is the mean difference between the
            grey image smoothed at two neighbouring `SCALES_PX`.
    """

    judged: bool
    bright_level: float
    white_share: float
    red_share: float
    grey_share: float
    deep_red_share: float
    sharpness: float


class QualityJudge:
    """Judges frames one after the other. It keeps the reduced mask of the last field.

    Args:
        hold_frames: frames that a condition must hold before the reported one changes.
        blurred_below: `Measures.sharpness` below which it is out of focus, or blurred by motion.
        red_out_from: `Measures.deep_red_share` from which the lens lies on the wall.
        white_from: `Measures.white_share` from which the frame is overexposed.
        dark_below: `Measures.bright_level` below which it is underexposed.
        outside_below: `Measures.red_share` below which it is out of the body.
        grey_from: `Measures.grey_share` from which it is also out of the body.
    """

    def __init__(
        self,
        *,
        hold_frames: int = 3,
        blurred_below: float = 0.36,
        red_out_from: float = 0.7,
        white_from: float = 0.2,
        dark_below: float = 60.0,
        outside_below: float = 0.1,
        grey_from: float = 0.3,
    ) -> None:
        self._hold_frames = hold_frames
        self._blurred_below, self._red_out_from = blurred_below, red_out_from
        self._white_from, self._dark_below = white_from, dark_below
        self._outside_below, self._grey_from = outside_below, grey_from
        self._reducer = Reducer()
        self._reported = self._last = Condition.CLEAR
        self._same_frames = self._unclear_frames = 0

    def __call__(self, pixels: Pixels, field: Field) -> Condition:
        """Judge the next frame. Return the condition that has held, as of this frame."""
        now = self.instant(pixels, field)
        self._same_frames = self._same_frames + 1 if now is self._last else 1
        self._unclear_frames = 0 if now is Condition.CLEAR else self._unclear_frames + 1
        self._last = now
        turned = self._reported is Condition.CLEAR and self._unclear_frames >= self._hold_frames
        if turned or self._same_frames >= self._hold_frames:
            self._reported = now
        return self._reported

    def instant(self, pixels: Pixels, field: Field) -> Condition:
        """Judge this frame alone. A tiny frame is clear."""
        small, inside = self._reducer(pixels, field)
        if min(small.shape[:2]) < LEAST_SIDE_PX:
            return Condition.CLEAR
        found = measure(small, inside)
        if found.bright_level < self._dark_below:
            return Condition.UNDEREXPOSED
        if found.red_share < self._outside_below or found.grey_share >= self._grey_from:
            return Condition.OUT_OF_BODY
        if found.white_share >= self._white_from:
            return Condition.OVEREXPOSED
        if found.deep_red_share >= self._red_out_from:
            return Condition.RED_OUT
        if found.sharpness < self._blurred_below:
            return Condition.BLURRED
        return Condition.CLEAR

    def may_be_outside(self, pixels: Pixels, field: Field) -> bool:
        """Check whether a frame may show anything except the inside of a body.

        It may if too few pixels are neither dark nor white, such as on white text on black.
        """
        small, inside = self._reducer(pixels, field)
        if min(small.shape[:2]) < LEAST_SIDE_PX:
            return False
        found = measure(small, inside)
        reddish = found.red_share >= self._outside_below and found.grey_share < self._grey_from
        return not (found.judged and reddish)


class Reducer:
    """Reduces a field to `ROWS` rows, and keeps the mask while the field is the same."""

    def __init__(self) -> None:
        self._field: Field | None = None
        self._inside = NO_MASK

    def __call__(self, pixels: Pixels, field: Field) -> tuple[Image, Mask]:
        """Reduce a frame to `(h, w, 3)`, and a mask `(h, w) uint8`, 1 well inside the field."""
        small = reduce_rows(pixels, field.box)
        if field is not self._field or self._inside.shape != small.shape[:2]:
            self._field, self._inside = field, _inside(field, small.shape[:2])
        return small, self._inside


def reduce_rows(pixels: Pixels, box: Box) -> Image:
    """Reduce a box to `ROWS` rows, in proportion. A smaller box stays as it is."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    rows = min(ROWS, height)
    return reduce(pixels, box, (max(1, round(width * rows / height)), rows))


def measure(small: Image, inside: Mask) -> Measures:
    """Measure a reduced image `(h, w, 3) uint8` BGR where `inside` is 1."""
    blue, green, red = cv2.split(small)
    brightest = cv2.max(cv2.max(blue, green), red)
    darkest = cv2.min(cv2.min(blue, green), red)
    white = cv2.compare(cv2.min(green, red), WHITE_LEVEL, cv2.CMP_GE) & inside
    judged = cv2.compare(brightest, DARK_LEVEL, cv2.CMP_GE) & inside & ~white
    reddish = _redder(red, green, RED_OVER_GREEN) & judged
    grey = cv2.compare(cv2.multiply(brightest, 1 - GREY_SPREAD), darkest, cv2.CMP_LE) & judged
    deep = _redder(red, green, DEEP_RED_OVER_GREEN) & cv2.compare(red, DEEP_RED_LEVEL, cv2.CMP_GE)
    pixels = cv2.countNonZero(inside)
    judged_pixels = cv2.countNonZero(judged)
    enough = judged_pixels > LEAST_JUDGED_SHARE * pixels
    return Measures(
        judged=enough,
        bright_level=_bright_level(brightest, inside),
        white_share=cv2.countNonZero(white) / pixels,
        red_share=cv2.countNonZero(reddish) / judged_pixels if enough else 1.0,
        grey_share=cv2.countNonZero(grey) / judged_pixels if enough else 0.0,
        deep_red_share=cv2.countNonZero(deep & inside) / pixels,
        sharpness=_sharpness(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), inside),
    )


def _redder(red: Mask, green: Mask, ratio: float) -> Mask:
    return cv2.compare(cv2.multiply(red, 1 / ratio), green, cv2.CMP_GE)


def _bright_level(brightest: Mask, inside: Mask) -> float:
    histogram = cv2.calcHist([brightest], [0], inside, [256], [0, 256]).ravel()[::-1]
    reached = np.cumsum(histogram) >= BRIGHT_SHARE * histogram.sum()
    return 255.0 - int(np.argmax(reached))


def _sharpness(grey: Mask, inside: Mask) -> float:
    along_columns = _fineness(cv2.transpose(grey), cv2.transpose(inside))
    return min(_fineness(grey, inside), along_columns)


def _fineness(grey: Mask, inside: Mask) -> float:
    """Measure along every other row, because neighbouring rows show much the same."""
    grey, inside = grey[::2], np.ascontiguousarray(inside[::2])
    one, two, four = (cv2.sepFilter2D(grey, cv2.CV_32F, window, NO_WINDOW) for window in WINDOWS)
    fine = cv2.mean(cv2.absdiff(one, two), mask=inside)[0]
    coarse = cv2.mean(cv2.absdiff(two, four), mask=inside)[0]
    return fine / (coarse + LEAST_DETAIL)


def _inside(field: Field, shape: tuple[int, ...]) -> Mask:
    """Leave out a margin inside the field, unless nothing would remain."""
    height, width = shape[:2]
    if field.mask is None:
        full = np.ones((height, width), np.uint8)
    else:
        part = np.ascontiguousarray(crop(field.mask, field.box))
        full = cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST)
    side = 2 * EDGE_ROWS + 1
    inner = cv2.erode(
        full, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return inner if inner.any() else np.ones_like(full)
