"""Paints labelled runs into a mask, and sums the probability of each finding.

Runs are stored as in `qlumen.kernels.threshold`. Here `label` is the finding's number, from 1.
"""

from qlumen.kernels.jit import kernel
from qlumen.kernels.upsample import add_along, interpolate_down


@kernel
def paint(spans, row_first, mask):
    """Write 1 into `mask`, `(H, W) uint8`, at every pixel of the runs."""
    for y in range(mask.shape[0]):
        for i in range(row_first[y], row_first[y + 1]):
            mask[y, spans[i, 0] : spans[i, 1]] = 1


@kernel
def sum_probability(
    padded, row_cell, row_weight, cell, weight, start, spans, row_first, label, row, total
):
    """Add up the interpolated probability of each finding, row by row, from left to right.

    Args:
        padded: padded map of `qlumen.kernels.upsample.pad_inner`.
        row_cell, row_weight: `AxisMap` of the frame's rows.
        cell, weight, start: `AxisMap` of the frame's columns.
        spans, row_first, label: runs and their finding's number.
        row: scratch, `(inner_w + 2,) float32`.
        total: out, `(MAX,) float64`, at the finding's number less one.
    """
    total[:] = 0
    for y in range(row_cell.size):
        begin, end = row_first[y], row_first[y + 1]
        if begin == end:
            continue
        first, last = cell[spans[begin, 0]], cell[spans[end - 1, 1] - 1] + 1
        interpolate_down(padded, row_cell[y], row_weight[y], first, last, row)
        for i in range(begin, end):
            left, right, finding = spans[i, 0], spans[i, 1], label[i] - 1
            total[finding] = add_along(row, start, weight, cell[left], left, right, total[finding])
