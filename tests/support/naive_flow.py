"""Computes motion slowly and readably (oracles): SciPy interpolates, loops do the rest."""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]


def at(values: NDArray[np.float32], x: Array, y: Array) -> Array:
    """Interpolate `(h, w)` or `(h, w, 2)` bilinearly, with the edge's value beyond the edge."""
    if values.ndim == 3:
        return np.stack([at(values[..., axis], x, y) for axis in range(2)], axis=-1)
    return ndimage.map_coordinates(values.astype(np.float64), [y, x], order=1, mode="nearest")


def border_pixels(contour: NDArray[np.int32], step: int) -> list[tuple[int, int]]:
    """List the first and then every `step`-th pixel of each straight run."""
    pixels = []
    for (x, y), (next_x, next_y) in zip(
        contour.tolist(), np.roll(contour, -1, axis=0).tolist(), strict=True
    ):
        steps = max(abs(next_x - x), abs(next_y - y))
        dx, dy = np.sign(next_x - x), np.sign(next_y - y)
        run = [(x + i * dx, y + i * dy) for i in range(max(1, steps))]
        pixels += run[::step]
    return pixels


def move_border(
    contour: NDArray[np.int32], flow: NDArray[np.float32], width: int, height: int, step: int
) -> NDArray[np.int32]:
    points = np.array(border_pixels(contour, step), np.float64)
    scale = np.array([width / flow.shape[1], height / flow.shape[0]])
    small = (points + 0.5) / scale - 0.5
    displaced = points + at(flow, small[:, 0], small[:, 1]) * scale
    return np.floor(displaced + 0.5).astype(np.int32)


def reverse_flow(flow: NDArray[np.float32], rounds: int) -> Array:
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float64)
    back = np.zeros(flow.shape)
    for _ in range(rounds):
        back = -at(flow, x + back[..., 0], y + back[..., 1])
    return back


def mix_moved(
    past: NDArray[np.float32],
    past_region: tuple[float, ...],
    now: NDArray[np.float32],
    region: tuple[float, ...],
    back: NDArray[np.float32],
    weight: float,
) -> Array:
    """Mix maps through frame coordinates, one unit wide and high."""
    height, width = now.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    x = region[0] + (columns + 0.5) / width * (region[2] - region[0])
    y = region[1] + (rows + 0.5) / height * (region[3] - region[1])
    moved = at(back, x * back.shape[1] - 0.5, y * back.shape[0] - 0.5)
    from_x, from_y = x + moved[..., 0] / back.shape[1], y + moved[..., 1] / back.shape[0]
    share_x = (from_x - past_region[0]) / (past_region[2] - past_region[0])
    share_y = (from_y - past_region[1]) / (past_region[3] - past_region[1])
    old = at(past, share_x * width - 0.5, share_y * height - 0.5)
    known = (share_x >= 0) & (share_x <= 1) & (share_y >= 0) & (share_y <= 1)
    return np.where(known, (1 - weight) * now + weight * old, now)


def cheapest_pairs(costs: Array, forbidden: float) -> tuple[int, float]:
    """Find the largest number of allowed pairs and their least total: try all pairs."""
    rows, columns = costs.shape
    if rows > columns:
        return cheapest_pairs(costs.T, forbidden)
    best = (0, 0.0)
    for chosen in permutations(range(columns), rows):
        allowed = [cost for row, column in enumerate(chosen)
                   if (cost := costs[row, column]) < forbidden]  # fmt: skip
        if (-len(allowed), sum(allowed)) < (-best[0], best[1]):
            best = len(allowed), sum(allowed)
    return best
