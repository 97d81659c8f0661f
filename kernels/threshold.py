"""Finds the runs of frame pixels at which a probability map reaches a threshold.

A run is a maximal row of neighbouring pixels, half open: `spans[i]` is start and stop. The
runs of frame row y are `row_first[y]` to `row_first[y + 1]`, half open, from left to right.
"""

import numpy as np

from qlumen.kernels.jit import kernel
from qlumen.kernels.upsample import interpolate_down

ROUNDING_SLACK = np.float32(1e-6)
"""An interpolated value leaves the range of its four neighbours by at most two float32 roundings,
2.4e-7 for values in 0..1. Values further from the threshold need no check."""


def max_runs(frame_w, frame_h, inner_w):
    """Return the most runs of `threshold_runs`: at most two borders per cell, or one per pixel."""
    return frame_h * ((min(frame_w, 2 * (inner_w + 1)) + 1) // 2)


@kernel
def threshold_runs(
    padded, extent, row_cell, row_weight, start, weight, low, high, row, spans, strong, row_first
):
    """Find the runs of interpolated probability at least `low`.

    Args:
        padded, extent: results of `pad_inner` with `low - ROUNDING_SLACK` or less as its `low`.
        row_cell, row_weight: `(H,)` int32 and float32 of the frame's rows.
        start: `(inner_w + 2,) int32`, first frame column of each cell, then W.
        weight: `(W,) float32` of the frame's columns.
        low, high: float32.
        row: scratch, `(inner_w + 2,) float32`.
        spans: out, `(max_runs, 2) int32`.
        strong: out, `(max_runs,) uint8`, 1 where the run reaches `high` somewhere.
        row_first: out, `(H + 1,) int32`.

    Returns:
        Number of runs.
    """
    count = 0
    for y in range(row_cell.size):
        row_first[y] = count
        cell = row_cell[y]
        first = min(extent[cell, 0], extent[cell + 1, 0])
        last = max(extent[cell, 1], extent[cell + 1, 1])
        if first <= last:
            interpolate_down(padded, cell, row_weight[y], first - 1, last + 1, row)
            count = _row_runs(row, first, last, start, weight, low, high, spans, strong, count)
    row_first[row_cell.size] = count
    return count


@kernel
def _row_runs(row, first, last, start, weight, low, high, spans, strong, count):
    """Find the runs of a row; check single pixels only in cells partly inside, which are few."""
    surely_in, surely_out = low + ROUNDING_SLACK, low - ROUNDING_SLACK
    is_open = False
    for cell in range(first - 1, last + 1):
        begin, end = start[cell], start[cell + 1]
        a, b = row[cell], row[cell + 1]
        if begin == end:
            continue
        if max(a, b) < surely_out:
            if is_open:
                spans[count, 1], count, is_open = begin, count + 1, False
        elif min(a, b) >= surely_in:
            if not is_open:
                spans[count, 0], strong[count], is_open = begin, 0, True
            if strong[count] == 0 and _reaches(a, b, weight, begin, end, high):
                strong[count] = 1
        else:
            count, is_open = _pixel_runs(
                a, b, weight, begin, end, low, high, spans, strong, count, is_open
            )
    if is_open:
        spans[count, 1], count = start[last + 1], count + 1
    return count


@kernel
def _reaches(a, b, weight, begin, end, high):
    if max(a, b) < high - ROUNDING_SLACK:
        return False
    for x in range(begin, end):
        if a + weight[x] * (b - a) >= high:
            return True
    return False


@kernel
def _pixel_runs(a, b, weight, begin, end, low, high, spans, strong, count, is_open):
    for x in range(begin, end):
        value = a + weight[x] * (b - a)
        if value >= low:
            if not is_open:
                spans[count, 0], strong[count], is_open = x, 0, True
            if value >= high:
                strong[count] = 1
        elif is_open:
            spans[count, 1], count, is_open = x, count + 1, False
    return count, is_open
