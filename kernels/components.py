"""Finds connected components of runs by union-find over the rows' half-open spans.

Runs are stored as in `qlumen.kernels.threshold`. The root of a component is its first run from
the top left. After `label_runs` the label of every run is its root.
"""

from qlumen.kernels.jit import kernel

EIGHT_CONNECTED = 1
FOUR_CONNECTED = 0


@kernel
def label_runs(spans, row_first, reach, label):
    """Join runs of neighbouring rows that touch.

    Args:
        spans: `(N, 2) int32`.
        row_first: `(H + 1,) int32`.
        reach: EIGHT_CONNECTED or FOUR_CONNECTED, columns by which joined runs may miss each other.
        label: out, `(N,) int32`, root of each run's component.
    """
    count = row_first[-1]
    for i in range(count):
        label[i] = i
    for y in range(1, row_first.size - 1):
        _join_rows(spans, row_first[y - 1], row_first[y], row_first[y + 1], reach, label)
    for i in range(count):
        label[i] = label[label[i]]


@kernel
def _join_rows(spans, above, here, end, reach, label):
    upper, lower = above, here
    while upper < here and lower < end:
        if spans[upper, 0] < spans[lower, 1] + reach and spans[lower, 0] < spans[upper, 1] + reach:
            _join(label, upper, lower)
        if spans[upper, 1] < spans[lower, 1]:
            upper += 1
        else:
            lower += 1


@kernel
def _join(label, i, j):
    i, j = _root(label, i), _root(label, j)
    label[max(i, j)] = min(i, j)


@kernel
def _root(label, i):
    while label[i] != i:
        label[i] = label[label[i]]
        i = label[i]
    return i


@kernel
def mark_strong(strong, label, count):
    """Carry `strong`, `(N,) uint8` in and out, from the first `count` runs to their roots."""
    for i in range(count):
        strong[label[i]] |= strong[i]


@kernel
def keep_numbered(spans, row_first, label, number):
    """Keep, in place, the runs of components whose root has a number other than 0.

    Args:
        spans: in and out, `(N, 2) int32`.
        row_first: in and out, `(H + 1,) int32`.
        label: in and out, `(N,) int32`, roots before and the roots' numbers afterwards.
        number: `(N,)` integers.

    Returns:
        Number of runs kept.
    """
    kept, begin = 0, 0
    for y in range(row_first.size - 1):
        end = row_first[y + 1]
        for i in range(begin, end):
            if number[label[i]] != 0:
                spans[kept, 0], spans[kept, 1] = spans[i, 0], spans[i, 1]
                label[kept] = number[label[i]]
                kept += 1
        begin = end
        row_first[y + 1] = kept
    return kept


@kernel
def measure(spans, row_first, label, area, box):
    """Write the area and the tight box of each component at its root.

    Args:
        spans, row_first, label: runs and labels of `label_runs`.
        area: out, `(N,) int32`, pixels; 0 where a run is no root.
        box: out, `(N, 4) int32`, x0, y0, x1, y1, half open; unchanged where a run is no root.
    """
    for y in range(row_first.size - 1):
        for i in range(row_first[y], row_first[y + 1]):
            root, start, stop = label[i], spans[i, 0], spans[i, 1]
            area[i] = 0
            if root == i:
                box[i, 0], box[i, 1], box[i, 2], box[i, 3] = start, y, stop, y + 1
            area[root] += stop - start
            box[root, 0], box[root, 2] = min(box[root, 0], start), max(box[root, 2], stop)
            box[root, 3] = y + 1


@kernel
def largest(area, box, count, min_area, roots):
    """Choose the largest components of at least `min_area` pixels, in order.

    Larger components come first, equal ones by the box's top, then its left, then the root.

    Args:
        area, box: results of `measure`.
        count: number of runs.
        roots: out, `(MAX,) int32`.

    Returns:
        Number of components chosen, at most MAX.
    """
    chosen = 0
    for i in range(count):
        if area[i] == 0 or area[i] < min_area:
            continue
        place = min(chosen, roots.size)
        while place > 0 and _precedes(area, box, i, roots[place - 1]):
            place -= 1
        if place < roots.size:
            chosen = min(chosen + 1, roots.size)
            for later in range(chosen - 1, place, -1):
                roots[later] = roots[later - 1]
            roots[place] = i
    return chosen


@kernel
def _precedes(area, box, i, j):
    if area[i] != area[j]:
        return area[i] > area[j]
    if box[i, 1] != box[j, 1]:
        return box[i, 1] < box[j, 1]
    return box[i, 0] < box[j, 0]
