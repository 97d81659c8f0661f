"""Marks the part of the overlay that each pixel belongs to: `(H, W) uint8` of these levels."""

from qlumen.kernels.jit import kernel

NOTHING, RIM, LINE, FILL, OTHER = 0, 1, 2, 3, 4


@kernel
def stamp_border(points, half_width, level, parts):
    """Write `level` at every pixel near a closed border.

    Args:
        points: `(N, 2) int32`, x and y, joined by horizontal, vertical or 45-degree lines, as
            `qlumen.kernels.contours.trace_border` gives them.
        half_width: `(2 * r + 1,) int32`, reach in x for dy from -r to r, pixels.
        level: RIM, LINE or OTHER.
        parts: in and out, `(H, W) uint8`.
    """
    count = points.shape[0]
    for i in range(count):
        x, y = points[i]
        next_x, next_y = points[(i + 1) % count]
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        step_x, step_y = (next_x - x) // steps, (next_y - y) // steps
        for step in range(steps):
            _stamp(x + step * step_x, y + step * step_y, half_width, level, parts)


@kernel
def _stamp(x, y, half_width, level, parts):
    height, width = parts.shape
    top = y - half_width.size // 2
    for row in range(max(0, top), min(height, top + half_width.size)):
        reach = half_width[row - top]
        parts[row, max(0, x - reach) : max(0, min(width, x + reach + 1))] = level


@kernel
def stamp_mask(mask, x0, y0, x1, y1, parts):
    """Write FILL where `mask`, `(H, W) uint8`, is not 0 inside the half-open box."""
    for y in range(y0, y1):
        filled, line = mask[y, x0:x1], parts[y, x0:x1]
        for x in range(line.size):
            line[x] = FILL if filled[x] else line[x]
