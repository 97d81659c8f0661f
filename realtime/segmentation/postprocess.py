"""Turns the network's probability map into a mask of the frame's size and its findings.

    interpolate -> hysteresis -> 8-connected components -> holes filled -> minimum area
    -> box, area, score, contour of the largest MAX_FINDINGS

The result is the same as if each step ran on the whole frame. The kernels only look where the
outcome is open.
"""

import math

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError, EngineError
from qlumen.kernels.components import (
    EIGHT_CONNECTED,
    keep_numbered,
    label_runs,
    largest,
    mark_strong,
    measure,
)
from qlumen.kernels.contours import trace_border
from qlumen.kernels.findings import paint, sum_probability
from qlumen.kernels.morphology import fill_holes
from qlumen.kernels.threshold import ROUNDING_SLACK, max_runs, threshold_runs
from qlumen.kernels.upsample import pad_inner, reaches
from qlumen.realtime.frames import Finding, Segmentation
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.segmentation.geometry import Geometry

MAX_FINDINGS = 64
CONTOUR_POINTS = 4096
"""Points of a contour for which memory is kept. A longer contour is traced twice."""


class Postprocessor:
    """Turns probability maps into segmentations.

    It keeps scratch memory for the last geometry, so it belongs to one thread.
    """

    def __init__(self, *, low: float, high: float, min_area_fraction: float) -> None:
        """Set the thresholds.

        Args:
            low: probability from which a pixel can belong to a finding, above 0.
            high: probability that a finding must reach in one pixel or more, from `low`, below 1.
            min_area_fraction: least area of a finding, holes filled, as a share of the
                frame's pixels, from 0, below 1.

        Raises:
            ConfigError: a value is out of these bounds.
        """
        _check_settings(low, high, min_area_fraction)
        self._low = np.float32(low)
        self._high = np.float32(high)
        self._min_area_fraction = min_area_fraction
        self._masks = FramePool()
        self._scratch: _Scratch | None = None

    def __call__(self, probability: NDArray[np.float32], geometry: Geometry) -> Segmentation:
        """Find the lesions of one frame.

        Args:
            probability: map `(h, w) float32`, C-contiguous, of the network's input size. Values
                are clamped to 0..1; NaN counts as 0.
            geometry: place of the frame in the network's input.

        Returns:
            Segmentation whose mask holds exactly the findings. A finding's score is its mean
            interpolated probability.

        Raises:
            EngineError: the map has another size, type or layout.
        """
        _check_probability(probability, geometry)
        mask = self._masks.take((geometry.frame_h, geometry.frame_w))
        mask.fill(0)
        if not reaches(probability, *geometry.inner, self._high - ROUNDING_SLACK):
            return Segmentation(mask, (), probability)
        if self._scratch is None or self._scratch.geometry != geometry:
            self._scratch = _Scratch(geometry)
        self._scratch.find(probability, self._low, self._high)
        findings = self._scratch.findings(self._min_area(geometry), mask)
        return Segmentation(mask, findings, probability)

    def _min_area(self, geometry: Geometry) -> int:
        pixels = geometry.frame_w * geometry.frame_h
        # Rounded first: 0.07 * 100 is above 7 in floating point.
        return math.ceil(round(self._min_area_fraction * pixels, 6))


def _check_settings(low: float, high: float, min_area_fraction: float) -> None:
    if not 0 < low <= high < 1:
        raise ConfigError(f"thresholds low {low} and high {high}: need 0 < low <= high < 1")
    if not 0 <= min_area_fraction < 1:
        raise ConfigError(
            f"min_area_fraction is {min_area_fraction}; use a share of the frame from 0, below 1"
        )


def _check_probability(probability: NDArray[np.float32], geometry: Geometry) -> None:
    wanted = (geometry.network_h, geometry.network_w)
    if probability.shape != wanted or probability.dtype != np.float32:
        raise EngineError(
            f"probability map is {probability.shape} {probability.dtype}; "
            f"the geometry needs {wanted} float32: use the network's own input size"
        )
    if not probability.flags.c_contiguous:
        raise EngineError("probability map is not C-contiguous; use numpy.ascontiguousarray")


class _Scratch:
    """Holds the arrays of one geometry, and runs the kernels in their order.

    The system assigns memory when it is first written to. So room for the worst frame costs
    nothing in usual frames.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._columns, self._rows = geometry.columns(), geometry.rows()
        height, width = geometry.frame_h, geometry.frame_w
        inner_w, inner_h = geometry.inner_w, geometry.inner_h
        runs = max_runs(width, height, inner_w)
        self._padded = np.empty((inner_h + 2, inner_w + 2), np.float32)
        self._extent = np.empty((inner_h + 2, 2), np.int32)
        self._row = np.empty(inner_w + 2, np.float32)
        self._spans = np.empty((runs, 2), np.int32)
        self._strong = np.empty(runs, np.uint8)
        self._row_first = np.empty(height + 1, np.int32)
        self._label = np.empty(runs, np.int32)
        self._gaps = np.empty((runs + height, 2), np.int32)
        self._gap_first = np.empty(height + 1, np.int32)
        self._gap_label = np.empty(runs + height, np.int32)
        self._outside = np.empty(runs + height, np.uint8)
        self._area = np.empty(runs, np.int32)
        self._box = np.empty((runs, 4), np.int32)
        self._roots = np.empty(MAX_FINDINGS, np.int32)
        self._total = np.empty(MAX_FINDINGS, np.float64)
        self._points = np.empty((CONTOUR_POINTS, 2), np.int32)

    def find(self, probability: NDArray[np.float32], low: np.float32, high: np.float32) -> None:
        """Find the runs of all components, holes filled, and label them with their roots."""
        left, top, _, _ = self.geometry.inner
        pad_inner(probability, left, top, low - ROUNDING_SLACK, self._padded, self._extent)
        count = threshold_runs(
            self._padded, self._extent, self._rows.cell, self._rows.weight, self._columns.start,
            self._columns.weight, low, high, self._row, self._spans, self._strong, self._row_first,
        )  # fmt: skip
        label_runs(self._spans, self._row_first, EIGHT_CONNECTED, self._label)
        mark_strong(self._strong, self._label, count)
        keep_numbered(self._spans, self._row_first, self._label, self._strong)
        fill_holes(
            self._spans, self._row_first, self.geometry.frame_w,
            self._gaps, self._gap_first, self._gap_label, self._outside,
        )  # fmt: skip
        label_runs(self._spans, self._row_first, EIGHT_CONNECTED, self._label)

    def findings(self, min_area: int, mask: Mask) -> tuple[Finding, ...]:
        """Paint the largest components into `mask` and describe them."""
        count = int(self._row_first[-1])
        measure(self._spans, self._row_first, self._label, self._area, self._box)
        chosen = largest(self._area, self._box, count, min_area, self._roots)
        roots = self._roots[:chosen]
        boxes, areas = self._box[roots].tolist(), self._area[roots].tolist()
        left = self._spans[roots, 0].tolist()
        number = self._area
        number[:count] = 0
        number[roots] = np.arange(1, chosen + 1)
        keep_numbered(self._spans, self._row_first, self._label, number)
        paint(self._spans, self._row_first, mask)
        scores = self._mean(areas)
        return tuple(
            Finding(tuple(box), score, area, self._contour(mask, x, box[1]))
            for box, area, score, x in zip(boxes, areas, scores, left, strict=True)
        )

    def _mean(self, areas: list[int]) -> list[float]:
        sum_probability(
            self._padded, self._rows.cell, self._rows.weight, self._columns.cell,
            self._columns.weight, self._columns.start, self._spans, self._row_first,
            self._label, self._row, self._total,
        )  # fmt: skip
        totals = self._total[: len(areas)].tolist()
        return [total / area for total, area in zip(totals, areas, strict=True)]

    def _contour(self, mask: Mask, x: int, y: int) -> NDArray[np.int32]:
        count = trace_border(mask, x, y, self._points)
        if count <= CONTOUR_POINTS:
            return self._points[:count].copy()
        points = np.empty((count, 2), np.int32)
        trace_border(mask, x, y, points)
        return points
