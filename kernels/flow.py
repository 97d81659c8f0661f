"""Moves borders and maps by the dense motion between two small images.

A flow is `(h, w, 2) float32`: for each pixel of the earlier image its displacement x, y to
the later one, in pixels of that size. Pixel centres are at half coordinates: position X on
an axis of N pixels is (X + 1/2) * n / N - 1/2 on one of n pixels. A flow is interpolated
between pixels. Beyond the edge it is that of the edge.
"""

import math

import numpy as np

from qlumen.kernels.jit import fast_kernel, kernel


@kernel
def move_border(points, flow, width, height, step, moved):
    """Move a closed border of an image by the flow of a smaller image.

    Points are added so that neighbours are at most `step` apart. Results are rounded half up,
    so that no motion gives points of the same border.

    Args:
        points: `(N, 2) int32`, x and y, joined by horizontal, vertical or 45-degree lines, as
            `qlumen.kernels.contours.trace_border` gives them.
        flow: `(h, w, 2) float32`.
        width, height: size of the image, pixels.
        step: pixels, at least 1.
        moved: out, `(M, 2) int32`, with M from `border_room`.

    Returns:
        Number of points written.
    """
    count = 0
    for i in range(points.shape[0]):
        x, y = points[i]
        next_x, next_y = points[(i + 1) % points.shape[0]]
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        step_x, step_y = (next_x - x) // steps, (next_y - y) // steps
        for done in range(0, steps, step):
            here_x, here_y = x + done * step_x, y + done * step_y
            moved[count, 0], moved[count, 1] = _displace(here_x, here_y, flow, width, height)
            count += 1
    return count


@kernel
def border_room(points, step):
    """Return the number of points that `move_border` writes."""
    count = 0
    for i in range(points.shape[0]):
        x, y = points[i]
        next_x, next_y = points[(i + 1) % points.shape[0]]
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        count += (steps + step - 1) // step
    return count


@kernel
def _displace(x, y, flow, width, height):
    scale_x, scale_y = width / flow.shape[1], height / flow.shape[0]
    dx, dy = _sample(flow, (x + 0.5) / scale_x - 0.5, (y + 0.5) / scale_y - 0.5)
    return math.floor(x + dx * scale_x + 0.5), math.floor(y + dy * scale_y + 0.5)


@kernel
def _sample(flow, x, y):
    """Interpolate bilinearly, with the edge's value beyond the edge."""
    height, width = flow.shape[:2]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u, v = x - left, y - top
    a, b = (1 - u) * (1 - v), u * (1 - v)
    c, d = (1 - u) * v, u * v
    dx = a * flow[top, left, 0] + b * flow[top, right, 0]
    dx += c * flow[bottom, left, 0] + d * flow[bottom, right, 0]
    dy = a * flow[top, left, 1] + b * flow[top, right, 1]
    dy += c * flow[bottom, left, 1] + d * flow[bottom, right, 1]
    return dx, dy


@kernel
def reverse_flow(flow, rounds, back):
    """Map the later image's pixels to where they were: back(p) = -flow(p + back(p)).

    The solution takes `rounds` fixed-point steps from 0. They converge where the flow stretches
    the image by less than its own size.

    Args:
        flow: `(h, w, 2) float32`.
        rounds: number of steps, from 1.
        back: out, `(h, w, 2) float32`.
    """
    for y in range(flow.shape[0]):
        for x in range(flow.shape[1]):
            back_x, back_y = -flow[y, x, 0], -flow[y, x, 1]
            for _ in range(rounds - 1):
                dx, dy = _sample(flow, x + back_x, y + back_y)
                back_x, back_y = -dx, -dy
            back[y, x, 0], back[y, x, 1] = back_x, back_y


@fast_kernel
def flow_residual(earlier, later, flow):
    """Return the mean absolute difference of `earlier` and `later` taken where `flow` leads.

    Args:
        earlier, later: `(h, w) uint8`.
        flow: `(h, w, 2) float32`.
    """
    height, width = earlier.shape
    total = 0.0
    for y in range(height):
        for x in range(width):
            there = _value(later, x + flow[y, x, 0], y + flow[y, x, 1])
            total += abs(there - earlier[y, x])
    return total / (height * width)


@fast_kernel
def mix_moved(past, past_region, now, region, back, weight, mixed):
    """Mix a map with the previous one, taken from where each pixel was.

    A pixel that came from outside the previous map keeps its new value.

    Args:
        past, now: `(H, W) float32`.
        past_region, region: `(4,) float64`, x0, y0, x1, y1 of these maps within their frame,
            as shares of its size.
        back: `(h, w, 2) float32` of `reverse_flow`, for the whole frame.
        weight: weight of the past, 0 to 1.
        mixed: out, `(H, W) float32`.
    """
    height, width = now.shape
    small_h, small_w = back.shape[:2]
    span_x, span_y = past_region[2] - past_region[0], past_region[3] - past_region[1]
    to_x, to_y = width / span_x, height / span_y
    left, right = np.empty(width, np.int32), np.empty(width, np.int32)
    share, still_x = np.empty(width, np.float32), np.empty(width, np.float32)
    for x in range(width):
        frame_x = region[0] + (x + 0.5) / width * (region[2] - region[0])
        left[x], right[x], share[x] = _neighbours(frame_x * small_w - 0.5, small_w)
        still_x[x] = (frame_x - past_region[0]) * to_x - 0.5
    step_x, step_y = np.float32(to_x / small_w), np.float32(to_y / small_h)
    line = np.empty((small_w, 2), np.float32)
    from_x, from_y = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        frame_y = region[1] + (y + 0.5) / height * (region[3] - region[1])
        still_y = np.float32((frame_y - past_region[1]) * to_y - 0.5)
        _flow_line(back, frame_y * small_h - 0.5, line)
        for x in range(width):
            one, other = line[left[x]], line[right[x]]
            from_x[x] = still_x[x] + step_x * (one[0] + share[x] * (other[0] - one[0]))
            from_y[x] = still_y + step_y * (one[1] + share[x] * (other[1] - one[1]))
        _mix_line(past, from_x, from_y, now[y], np.float32(weight), mixed[y])


@fast_kernel
def _mix_line(past, from_x, from_y, now, weight, mixed):
    height, width = past.shape
    edge, end_x, end_y = np.float32(-0.5), np.float32(width - 0.5), np.float32(height - 0.5)
    for x in range(now.size):
        value = now[x]
        if edge <= from_x[x] <= end_x and edge <= from_y[x] <= end_y:
            value += weight * (_value(past, from_x[x], from_y[x]) - value)
        mixed[x] = value


@fast_kernel
def _flow_line(flow, y, line):
    """Interpolate a flow between two of its rows."""
    top, bottom, share = _neighbours(y, flow.shape[0])
    for x in range(flow.shape[1]):
        for axis in range(2):
            above = flow[top, x, axis]
            line[x, axis] = above + share * (flow[bottom, x, axis] - above)


@fast_kernel
def _neighbours(place, count):
    """Return the two of `count` values around a place, and the share of the second."""
    place = min(max(np.float32(place), np.float32(0)), np.float32(count - 1))
    first = np.int32(place)
    return first, np.int32(min(first + 1, count - 1)), place - np.float32(first)


@fast_kernel
def _value(values, x, y):
    left, right, u = _neighbours(x, values.shape[1])
    top, bottom, v = _neighbours(y, values.shape[0])
    upper = _between(values[top, left], values[top, right], u)
    lower = _between(values[bottom, left], values[bottom, right], u)
    return upper + v * (lower - upper)


@fast_kernel
def _between(a, b, share):
    """Interpolate in floating point, because unsigned integers have no negative differences."""
    return a + share * (np.float32(b) - np.float32(a))
