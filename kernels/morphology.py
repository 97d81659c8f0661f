"""Fills the holes of runs; the gaps of each row are runs of the background.

Runs are stored as in `qlumen.kernels.threshold`.
"""

from qlumen.kernels.components import FOUR_CONNECTED, label_runs
from qlumen.kernels.jit import kernel


@kernel
def fill_holes(spans, row_first, width, gaps, gap_first, gap_label, outside):
    """Fill, in place, all background that is not 4-connected to the outside of the frame.

    Args:
        spans: in and out, `(N, 2) int32`.
        row_first: in and out, `(H + 1,) int32`.
        width: width of the frame, pixels.
        gaps: scratch, `(N + H, 2) int32`.
        gap_first: scratch, `(H + 1,) int32`.
        gap_label: scratch, `(N + H,) int32`.
        outside: scratch, `(N + H,) uint8`.

    Returns:
        Number of runs left.
    """
    _find_gaps(spans, row_first, width, gaps, gap_first)
    label_runs(gaps, gap_first, FOUR_CONNECTED, gap_label)
    _mark_outside(gap_first, gap_label, outside)
    return _close(spans, row_first, gap_first, gap_label, outside)


@kernel
def _find_gaps(spans, row_first, width, gaps, gap_first):
    """Write the n + 1 gaps of each row of n runs; the first and the last may be empty."""
    gap = 0
    for y in range(row_first.size - 1):
        gap_first[y] = gap
        gaps[gap, 0] = 0
        for i in range(row_first[y], row_first[y + 1]):
            gaps[gap, 1], gaps[gap + 1, 0] = spans[i, 0], spans[i, 1]
            gap += 1
        gaps[gap, 1] = width
        gap += 1
    gap_first[-1] = gap


@kernel
def _mark_outside(gap_first, gap_label, outside):
    height = gap_first.size - 1
    outside[: gap_first[-1]] = 0
    for y in range(height):
        outside[gap_label[gap_first[y]]] = 1
        outside[gap_label[gap_first[y + 1] - 1]] = 1
    for y in (0, height - 1):
        for gap in range(gap_first[y], gap_first[y + 1]):
            outside[gap_label[gap]] = 1


@kernel
def _close(spans, row_first, gap_first, gap_label, outside):
    kept, begin = 0, 0
    for y in range(row_first.size - 1):
        end = row_first[y + 1]
        for i in range(begin, end):
            gap = gap_first[y] + i - begin
            if i > begin and not outside[gap_label[gap]]:
                spans[kept - 1, 1] = spans[i, 1]
            else:
                spans[kept, 0], spans[kept, 1] = spans[i, 0], spans[i, 1]
                kept += 1
        begin = end
        row_first[y + 1] = kept
    return kept
