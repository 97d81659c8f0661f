"""Casts every ray of an image against every triangle of a scene, slowly (an oracle)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def triangles(grid: NDArray[np.float32]) -> Floats:
    """Return `(n, 3, 3)`: the corners of both triangles of each cell of a grid of vertices."""
    p = grid[..., :3].astype(np.float64)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:]
    first, second = np.stack([a, b, c], axis=-2), np.stack([c, b, d], axis=-2)
    return np.concatenate([first.reshape(-1, 3, 3), second.reshape(-1, 3, 3)])


def first_hit(origin: Floats, direction: Floats, corners: Floats) -> float:
    """Return the distance to the nearest triangle on a ray, or inf (Moeller, Trumbore 1997)."""
    start, one, two = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, two)
    det = np.einsum("ij,ij->i", one, across)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = origin - start
        u = np.einsum("ij,ij->i", away, across) / det
        turned = np.cross(away, one)
        v = turned @ direction / det
        t = np.einsum("ij,ij->i", two, turned) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return float(t[hit].min(initial=np.inf))


def lens_direction(x: float, y: float, focal: float) -> Floats:
    """Return the unit direction in camera axes that a stereographic lens maps to x, y."""
    radius = float(np.hypot(x, y))
    angle = 2 * np.arctan(radius / (2 * focal))
    if radius == 0:
        return np.array([0.0, 0.0, 1.0])
    return np.array([np.sin(angle) * x / radius, np.sin(angle) * y / radius, np.cos(angle)])
