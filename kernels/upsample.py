"""Interpolates a probability map bilinearly at a frame's pixels, only where it is needed.

All of it is float32, in this order: `p = a + weight * (b - a)`, first down the rows, then
along the columns. The map has a border of one pixel that repeats its edge, so that the
pixels outside the outermost centres need no case of their own. Cells and weights are those
of `qlumen.realtime.segmentation.geometry.AxisMap`.
"""

import numpy as np

from qlumen.kernels.jit import kernel


@kernel
def reaches(probability, x0, y0, x1, y1, level):
    """Check whether a value of a half-open rectangle of `(h, w) float32` is at least `level`."""
    for y in range(y0, y1):
        row = probability[y, x0:x1]
        hits = 0
        for i in range(row.size):
            hits += row[i] >= level
        if hits:
            return True
    return False


@kernel
def pad_inner(probability, offset_x, offset_y, low, padded, extent):
    """Copy the inner rectangle with its edge repeated, and find where it reaches `low`.

    Args:
        probability: `(h, w) float32`, clamped to 0..1; NaN counts as 0.
        offset_x, offset_y: first column and row of the inner rectangle, network pixels.
        low: float32.
        padded: out, `(inner_h + 2, inner_w + 2) float32`.
        extent: out, `(inner_h + 2, 2) int32`, first and last padded column of each row
            that is at least `low`, without the edges; last < first if there is none.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    for j in range(height):
        source = probability[offset_y + j, offset_x : offset_x + width]
        extent[j + 1, 0], extent[j + 1, 1] = _clean_row(source, low, padded[j + 1])
    # One by one: to copy rows, Numba first compiles 2 s of messages about shapes.
    for i in range(width + 2):
        padded[0, i], padded[height + 1, i] = padded[1, i], padded[height, i]
    for i in range(2):
        extent[0, i], extent[height + 1, i] = extent[1, i], extent[height, i]


@kernel
def _clean_row(source, low, row):
    """Clamp a row without branches, so that the compiler vectorises the loop."""
    zero, one = np.float32(0), np.float32(1)
    first, last = row.size, 0
    for i in range(1, row.size - 1):
        value = source[i - 1]
        value = value if value > zero else zero
        value = value if value < one else one
        row[i] = value
        first = min(first, i if value >= low else row.size)
        last = max(last, i if value >= low else 0)
    row[0], row[-1] = row[1], row[-2]
    return first, last


@kernel
def interpolate_down(padded, cell, weight, first, last, row):
    """Interpolate padded columns `first` to `last` of one frame row.

    Args:
        padded: `(inner_h + 2, inner_w + 2) float32`.
        cell, weight: cell and weight of the frame row.
        row: out, `(inner_w + 2,) float32`; other columns stay unchanged.
    """
    upper, lower = padded[cell, first : last + 1], padded[cell + 1, first : last + 1]
    out = row[first : last + 1]
    for i in range(out.size):
        out[i] = upper[i] + weight * (lower[i] - upper[i])


@kernel
def add_along(row, start, weight, cell, begin, end, total):
    """Add the interpolated values of frame columns `begin` to `end`, one after the other.

    Args:
        row: `(inner_w + 2,) float32` of `interpolate_down`.
        start, weight: `(inner_w + 2,) int32` and `(W,) float32` of the frame's columns.
        cell: cell of column `begin`.
        begin, end: half-open columns, not empty.
        total: float64 to add to.

    Returns:
        Sum, float64.
    """
    while begin < end:
        a, step = row[cell], row[cell + 1] - row[cell]
        stop = min(end, start[cell + 1])
        for x in range(begin, stop):
            total += np.float64(a + weight[x] * step)
        begin, cell = stop, cell + 1
    return total
