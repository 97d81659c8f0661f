"""Draws findings on a frame, and measures nothing.

Inside a finding the image is tinted. Around it runs a bright line, and around that a thin dark
rim, so that the line shows on pink mucosa and on white highlights. Both lie outside the finding,
so its own border stays visible. A finding's label is written over it, in the same two colours.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.kernels.blend import FRACTION_BITS, blend_parts
from qlumen.kernels.outline import LINE, OTHER, RIM, stamp_border, stamp_mask
from qlumen.realtime.frames import Finding, Segmentation
from qlumen.realtime.pixels.annotated import Annotated, Patch, disjoint
from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.pool import FramePool

CYAN_BGR, ORANGE_BGR = (230, 230, 0), (0, 159, 230)
RIM_BGR = (24, 24, 24)
FILL_ALPHA = 0.15
LINE_PER_FRAME_HEIGHT = 1 / 360
RIM_PER_LINE = 1 / 3
FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTERS_PER_FRAME_HEIGHT = 1 / 32
WHOLE = 1 << FRACTION_BITS


class Overlay:
    """Draws the findings of a segmentation on a frame, or on a copy of it."""

    def __init__(
        self,
        *,
        line_bgr: tuple[int, int, int] = CYAN_BGR,
        other_bgr: tuple[int, int, int] = ORANGE_BGR,
        fill_alpha: float = FILL_ALPHA,
        line_width_px: int = 0,
    ) -> None:
        """Set the style.

        Args:
            line_bgr: colour of line and tint, 0 to 255 each. The default, cyan, differs from
                mucosa in brightness and hue with all common kinds of colour blindness.
            other_bgr: colour of the line around areas of other classes, which have no tint.
            fill_alpha: weight of the tint, 0 to 1, rounded to 1/256.
            line_width_px: width of the line; 0 for 1/360 of the frame's height, at least 1.

        Raises:
            ConfigError: a value is out of these bounds.
        """
        for colour in (line_bgr, other_bgr):
            _check_style(colour, fill_alpha, line_width_px)
        self._line_width_px = line_width_px
        self._pool = FramePool()
        self._scratch: list[Mask] = []
        self._keep, self._add = _blend_tables(line_bgr, other_bgr, fill_alpha)

    def __call__(self, image: Image, segmentation: Segmentation) -> Image:
        """Draw the findings on a copy of `image`, `(H, W, 3) uint8` BGR.

        Pixels where `marker_mask` is 0 keep their bits. Without a finding the result is a
        read-only view of `image`. Raise ValueError if image and mask differ in size.
        """
        return self.annotate(BgrImage(image), segmentation).bgr()

    def draw(self, image: Image, segmentation: Segmentation) -> None:
        """Draw the findings on `image` itself. Raise ValueError as `__call__` does."""
        _check(BgrImage(image), segmentation.mask)
        if not _outlined(segmentation):
            return
        parts = self._clear_mask(segmentation.mask.shape)
        self._stamp(segmentation, parts)
        for box in self.boxes(segmentation):
            blend_parts(image, 0, 0, parts, self._keep, self._add, *box)
        self._scratch = [parts]

    def annotate(
        self, pixels: Pixels, segmentation: Segmentation, marks: Sequence[Patch] = ()
    ) -> Annotated:
        """Draw the findings as patches over an image, and `marks` over them.

        Raise ValueError as `__call__` does.
        """
        _check(pixels, segmentation.mask)
        if not _outlined(segmentation):
            return Annotated(pixels, tuple(marks), self._pool)
        parts = self._clear_mask(segmentation.mask.shape)
        self._stamp(segmentation, parts)
        patches = []
        for box in disjoint(self.boxes(segmentation), segmentation.mask.shape[::-1]):
            x0, y0, x1, y1 = box
            patch, marked = pixels.patch(box), parts[y0:y1, x0:x1].copy()
            blend_parts(patch, x0, y0, parts, self._keep, self._add, *box)
            patches.append(Patch(box, patch, marked))
        self._scratch = [parts]
        return Annotated(pixels, (*patches, *marks), self._pool)

    def marker_mask(self, segmentation: Segmentation) -> Mask:
        """Return `(H, W) uint8`, 1 on the pixels that drawing `segmentation` may change."""
        parts = np.zeros(segmentation.mask.shape, np.uint8)
        self._stamp(segmentation, parts)
        return (parts > 0).astype(np.uint8)

    def boxes(self, segmentation: Segmentation) -> tuple[Box, ...]:
        """Return the boxes where drawing may change pixels; half open, inside the frame."""
        height, width = segmentation.mask.shape
        margin = sum(self._widths(height))
        labelled = (one for one in _outlined(segmentation) if one.label)
        labels = tuple(self._label(one, (width, height))[0] for one in labelled)
        return labels + tuple(
            (
                max(0, x0 - margin), max(0, y0 - margin),
                min(width, x1 + margin), min(height, y1 + margin),
            )
            for x0, y0, x1, y1 in (one.box for one in _outlined(segmentation))
        )  # fmt: skip

    def _clear_mask(self, shape: tuple[int, ...]) -> Mask:
        """Return zeros: the last mask, which blending has cleared, or a new one."""
        last = self._scratch.pop() if self._scratch else None
        return np.zeros(shape, np.uint8) if last is None or last.shape != shape else last

    def _stamp(self, segmentation: Segmentation, parts: Mask) -> None:
        line, rim = self._widths(segmentation.mask.shape[0])
        for outlined, own in ((segmentation.others, OTHER), (segmentation.findings, LINE)):
            for level, radius in ((RIM, line + rim), (own, line)):
                disc = _disc(radius)
                for one in outlined:
                    stamp_border(one.contour, disc, level, parts)
        for finding in segmentation.findings:
            stamp_mask(segmentation.mask, *finding.box, parts)
        for outlined, own in ((segmentation.others, OTHER), (segmentation.findings, LINE)):
            for one in outlined:
                if one.label:
                    self._write(one, own, parts)

    def _write(self, finding: Finding, level: int, parts: Mask) -> None:
        """Write the label, with a rim that is made from its letters."""
        height, width = parts.shape
        (x0, y0, x1, y1), (x, y), scale = self._label(finding, (width, height))
        letters = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.putText(letters, finding.label, (x - x0, y - y0), FONT, scale, 1)
        rim = 2 * self._widths(height)[1] + 1
        area = parts[y0:y1, x0:x1]
        area[cv2.dilate(letters, np.ones((rim, rim), np.uint8)) > 0] = RIM
        area[letters > 0] = level

    def _label(self, finding: Finding, size: tuple[int, int]) -> tuple[Box, tuple[int, int], float]:
        """Return box, origin and scale of a label: over the finding, or below its top."""
        margin = sum(self._widths(size[1]))
        scale = cv2.getFontScaleFromHeight(FONT, max(8, round(size[1] * LETTERS_PER_FRAME_HEIGHT)))
        (width, height), below = cv2.getTextSize(finding.label, FONT, scale, 1)
        x = max(0, min(finding.box[0], size[0] - width - margin))
        y = finding.box[1] - below - 2 * margin
        y = y if y - height - margin >= 0 else min(size[1], finding.box[1] + height + 2 * margin)
        box = (
            max(0, x - margin), max(0, y - height - margin),
            min(size[0], x + width + margin), min(size[1], y + below + margin),
        )  # fmt: skip
        return box, (x, y), scale

    def _widths(self, height: int) -> tuple[int, int]:
        """Return the widths of line and rim in pixels."""
        line = self._line_width_px or max(1, round(height * LINE_PER_FRAME_HEIGHT))
        return line, max(1, round(line * RIM_PER_LINE))


def _outlined(segmentation: Segmentation) -> tuple[Finding, ...]:
    return segmentation.others + segmentation.findings


def _check_style(line_bgr: tuple[int, int, int], fill_alpha: float, line_width_px: int) -> None:
    if len(line_bgr) != 3 or not all(0 <= value <= 255 for value in line_bgr):
        raise ConfigError(f"line_bgr is {line_bgr}; use three values from 0 to 255")
    if not 0 <= fill_alpha <= 1:
        raise ConfigError(f"fill_alpha is {fill_alpha}; use a value from 0 to 1")
    if line_width_px < 0:
        raise ConfigError(f"line_width_px is {line_width_px}; use 1 or more, or 0 for automatic")


def _check(pixels: Pixels, mask: Mask) -> None:
    if pixels.size != mask.shape[::-1]:
        raise ValueError(
            "image is {}x{}, the mask {}x{}: give the frame that was segmented".format(
                *pixels.size, *mask.shape[::-1]
            )
        )


def _blend_tables(
    line_bgr: tuple[int, int, int], other_bgr: tuple[int, int, int], fill_alpha: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return what is kept of the image, and what is added, for each level of `kernels.outline`."""
    weight = np.array([0, WHOLE, WHOLE, round(fill_alpha * WHOLE), WHOLE], np.int32)
    colour = np.array([(0, 0, 0), RIM_BGR, line_bgr, line_bgr, other_bgr], np.int32)
    half = np.where(weight[:, None] > 0, WHOLE // 2, 0)
    return WHOLE - weight, (colour * weight[:, None] + half).astype(np.int32)


def _disc(radius: int) -> NDArray[np.int32]:
    """Return half the widths of a disc's rows: pixel centres up to `radius` + 1/2 away."""
    reach = [math.isqrt(radius * (radius + 1) - dy * dy) for dy in range(-radius, radius + 1)]
    return np.array(reach, np.int32)
