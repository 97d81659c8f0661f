"""Traces the outer border of a component as a closed chain of pixels.

Directions count clockwise on screen from the right: 0 right, 2 down, 4 left, 6 up. The
border is followed as in Suzuki and Abe, "Topological structural analysis of digitized
binary images by border following" (1985), mirrored so that it runs clockwise.
"""

from qlumen.kernels.jit import kernel

STEP_X = (1, 1, 0, -1, -1, -1, 0, 1)
STEP_Y = (0, 1, 1, 1, 0, -1, -1, -1)
NOWHERE = -1


@kernel
def trace_border(mask, x, y, points):
    """Follow an outer border clockwise and keep the points where it turns.

    Args:
        mask: `(H, W) uint8`, not 0 on 8-connected components.
        x, y: the component's top-most, then left-most pixel.
        points: out, `(N, 2) int32`, x and y, from the given pixel on; points that do not fit
            are counted and not written.

    Returns:
        Number of points of the whole border.
    """
    first = _next_direction(mask, x, y, 0)
    count = _store(points, 0, x, y)
    direction, here_x, here_y = first, x, y
    while direction != NOWHERE:
        here_x, here_y = here_x + STEP_X[direction], here_y + STEP_Y[direction]
        turned = _next_direction(mask, here_x, here_y, direction)
        if here_x == x and here_y == y and turned == first:
            break
        if turned != direction:
            count = _store(points, count, here_x, here_y)
        direction = turned
    return count


@kernel
def _next_direction(mask, x, y, arrived):
    """Turn clockwise from the pixel behind, over the outside, to the next one of the mask."""
    height, width = mask.shape
    for turn in range(5, 13):
        direction = (arrived + turn) % 8
        next_x, next_y = x + STEP_X[direction], y + STEP_Y[direction]
        if 0 <= next_x < width and 0 <= next_y < height and mask[next_y, next_x]:
            return direction
    return NOWHERE


@kernel
def _store(points, count, x, y):
    if count < points.shape[0]:
        points[count, 0], points[count, 1] = x, y
    return count + 1
