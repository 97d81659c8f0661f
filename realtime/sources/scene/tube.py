"""Makes the synthetic colon's wall: a winding centreline and a folded tube around it.

Lengths are in millimetres, angles in radians. A grid is `(rows, columns + 1, VERTEX_FIELDS)
float32` as `kernels.scene` needs it. To close it, the last column repeats the first.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import pi, tau

import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene import VERTEX_FIELDS
from qlumen.kernels.scene_light import TILE_MM

Floats = NDArray[np.float64]
Grid = NDArray[np.float32]

LENGTH_MM = 620.0
RADIUS_MM = 24.0
CENTRE_STEP_MM = 1.0
BEND_RAD = 0.53
BEND_PERIODS_MM = (410.0, 260.0, 150.0, 95.0)
FOLD_GAP_MM = (21.0, 34.0)
OPENING_MM = (10.5, 15.5)
"""Distance from the axis to the middle of a side of a fold's edge."""
LOW_SIDE_SHARE = 0.3
"""Share of the sides of folds that are lower than the others."""
CORNER_SHARPNESS = 7
COLUMNS = 184
FOLD_MM = (0.0, 0.8, 1.5, 2.1, 2.5, 3.0, 3.6, 4.5, 6.0, 8.0)
"""Half profile of a fold: distance along the tube from its edge."""
FOLD_HEIGHT = (1.0, 0.985, 0.93, 0.81, 0.63, 0.44, 0.27, 0.14, 0.05, 0.01)
"""Half profile of a fold: its height at these distances, as a share."""
FOLD_LIGHT = (1.12, 1.11, 1.08, 1.04, 0.99, 0.93, 0.86, 0.82, 0.85, 0.92)
"""Half profile of a fold: its light. Thin edges let light through; the corner behind gets less."""
PLAIN_ROWS = 7
ROWS_PER_FOLD = 2 * len(FOLD_MM) + PLAIN_ROWS
FOLD_DEEP_MM = 9.0
BULGE_MM = 2.0
"""Bulge of the wall midway between folds."""


@dataclass(frozen=True, slots=True, eq=False)
class Centreline:
    """Holds a smooth curve and axes that do not twist along it.

    Attributes:
        s: distance along the curve, `(n,)`.
        axes: place, then unit vectors along, side and up, 3 numbers each, `(n, 12)`.
    """

    s: Floats
    axes: Floats

    def at(self, s: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Return place, along, side and up, each `(3,)`."""
        place, along, side, up = self.all_at(np.array([s]))[:, 0]
        return place, along, side, up

    def all_at(self, s: Floats) -> Floats:
        """Return place, along, side and up at many distances, `(4, *s.shape, 3)`."""
        row = np.clip(s / CENTRE_STEP_MM, 0, len(self.s) - 1.001)
        whole = row.astype(np.intp)
        share = (row - whole)[..., None]
        axes = self.axes[whole] * (1 - share) + self.axes[whole + 1] * share
        return np.moveaxis(axes.reshape(*s.shape, 4, 3), -2, 0)


def make_centreline(rng: np.random.Generator) -> Centreline:
    s = np.arange(0.0, LENGTH_MM + CENTRE_STEP_MM, CENTRE_STEP_MM)
    yaw, pitch = _wander(rng, s), _wander(rng, s)
    along = np.stack([np.sin(yaw), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=1)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    place = np.cumsum(along, axis=0) * CENTRE_STEP_MM
    side = _untwist(along)
    return Centreline(s, np.concatenate([place, along, side, np.cross(along, side)], axis=1))


def _wander(rng: np.random.Generator, s: Floats) -> Floats:
    """Return an angle that changes over about 100 to 400 mm."""
    total = np.zeros_like(s)
    for period in BEND_PERIODS_MM:
        size = (period / BEND_PERIODS_MM[0]) ** 0.6
        total += size * np.sin(tau * (s / period + rng.uniform()))
    return BEND_RAD * total


def _untwist(along: Floats) -> Floats:
    """Return unit vectors across; each is the last one made perpendicular (Bishop's frame)."""
    side = np.empty_like(along)
    last = np.array([1.0, 0.0, 0.0])
    for k, direction in enumerate(along):
        last = last - direction * (last @ direction)
        last /= np.linalg.norm(last)
        side[k] = last
    return side


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """Holds the folded wall.

    Attributes:
        grid: `(rows, COLUMNS + 1, VERTEX_FIELDS)`; a fold's edge every `ROWS_PER_FOLD` rows.
        s: mean distance of each row along the centreline, rising, `(rows,)`.
        folds: distances of the folds, `(n,)`.
    """

    grid: Grid
    s: Floats
    folds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Edge:
    """Describes a fold's edge: per column its distance from the axis (`opening`) and ahead of the
    fold's place (`shift`), and its distance ahead of its own root (`lean`)."""

    s: float
    opening: Floats
    shift: Floats
    lean: float


def make_tube(rng: np.random.Generator, line: Centreline) -> Tube:
    theta = np.linspace(0.0, tau, COLUMNS + 1)
    theta[-1] = 0.0
    places = 6.0 + np.cumsum(rng.uniform(*FOLD_GAP_MM, size=64))
    edges = [_edge(rng, theta, s) for s in places[places < LENGTH_MM]]
    waves = _waves(rng)
    parts = [_between(a, b, theta, waves) for a, b in pairwise(edges)]
    s, radius, light, pale = (np.concatenate(part) for part in zip(*parts, strict=True))
    grid = _grid(rng, line, theta, s, radius)
    grid[..., 8] -= 0.28 * pale
    grid[..., 9] *= light
    grid[..., 10] *= 1 - 0.75 * pale
    return Tube(grid, np.maximum.accumulate(s.mean(axis=1)), np.array([e.s for e in edges[:-1]]))


def _edge(rng: np.random.Generator, theta: Floats, s: float) -> _Edge:
    """Make a three-sided edge, as the three taeniae do; each side has its own height."""
    sides = theta[:, None] - rng.normal(0.35, 0.22) - np.arange(3) * tau / 3
    strength = (np.clip(np.cos(sides), 0, None) ** CORNER_SHARPNESS).sum(axis=1)
    opening = rng.uniform(*OPENING_MM) / strength ** (1 / CORNER_SHARPNESS)
    low = rng.uniform(size=3) < LOW_SIDE_SHARE
    heights = np.where(low, rng.uniform(0.15, 0.6, 3), 1.0)
    weight = np.clip(np.cos(sides) + 0.5, 0, None) ** 2
    height = (weight * heights).sum(axis=1) / weight.sum(axis=1)
    wall = RADIUS_MM + 1.0
    opening = wall - height * np.clip(wall - opening, 0, None)
    opening += _ripples(rng, theta, (2, 3, 5, 7, 11), 1.1)
    shift = _ripples(rng, theta, (1, 2), 2.2) + _ripples(rng, theta, (9,), 3.0)
    return _Edge(s, opening, shift, rng.normal(0.5, 1.2))


def _ripples(
    rng: np.random.Generator, theta: Floats, turns: tuple[int, ...], size: float
) -> Floats:
    waves = [size / m * np.sin(m * theta + rng.uniform(0, tau)) for m in turns]
    return np.sum(waves, axis=0)


def _waves(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Return the waves of the uneven wall: turns around, radians per mm along, phase, mm."""
    uniform = rng.uniform
    return [
        (float(rng.integers(1, 6)), uniform(0.05, 0.30), uniform(0, tau), uniform(0.25, 0.6))
        for _ in range(14)
    ]


def _between(
    a: _Edge, b: _Edge, theta: Floats, waves: list[tuple[float, float, float, float]]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return distance along the centreline, radius, light and share of a pale edge, for the rows
    from one fold's edge to the next, each `(ROWS_PER_FOLD, columns)`."""
    height, light = np.array(FOLD_HEIGHT)[:, None], np.array(FOLD_LIGHT)[:, None]
    first = a.s + a.shift + np.array(FOLD_MM)[:, None] + a.lean * height**2
    last = (b.s + b.shift - np.array(FOLD_MM)[:, None] + b.lean * height**2)[::-1]
    t = (np.arange(1, PLAIN_ROWS + 1) / (PLAIN_ROWS + 1))[:, None]
    s = np.concatenate([first, first[-1] + t * (last[0] - first[-1]), last])
    outer = RADIUS_MM + BULGE_MM * np.sin(pi * (s - s[0]) / (s[-1] - s[0]))
    for turns, per_mm, phase, size in waves:
        outer += size * np.sin(turns * theta + per_mm * s + phase)
    share = np.concatenate([height, 0 * t, height[::-1]])
    dim = np.concatenate([light, 0 * t + 1, light[::-1]])
    nearer = (np.arange(ROWS_PER_FOLD) < ROWS_PER_FOLD // 2)[:, None]
    depth = np.clip(outer - np.where(nearer, a.opening, b.opening), 0, None)
    deep = np.clip(depth / FOLD_DEEP_MM, 0, 1)
    return s, outer - depth * share, 1 + deep * (dim - 1), share * deep


def _grid(
    rng: np.random.Generator, line: Centreline, theta: Floats, s: Floats, radius: Floats
) -> Grid:
    place, _, side, up = line.all_at(s)
    spoke = np.cos(theta)[:, None] * side + np.sin(theta)[:, None] * up
    points = place + radius[..., None] * spoke
    grid = np.empty((*s.shape, VERTEX_FIELDS), np.float32)
    grid[..., :3] = points
    grid[..., 3:6] = normals(points)
    grid[..., 6] = np.linspace(0.0, 1.0, len(theta))
    grid[..., 7] = _lengthwise(rng, points) / TILE_MM
    grid[..., 8] = 0.38 + 0.30 * _patches(rng, s, theta)
    grid[..., 9] = 1 + 0.05 * _patches(rng, s, theta)
    grid[..., 10] = np.clip(0.85 + 0.45 * _patches(rng, s, theta), 0.15, 1.0)
    return grid


def _lengthwise(rng: np.random.Generator, points: Floats) -> Floats:
    """Measure the wall from midway between two folds, with a random start for each pair of folds,
    so that the texture is not stretched over folds and does not repeat."""
    parts = points.reshape(-1, ROWS_PER_FOLD, *points.shape[1:])
    steps = np.linalg.norm(np.diff(parts, axis=1), axis=-1)
    length = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0), (0, 0)))
    length -= length[:, ROWS_PER_FOLD // 2, None]
    length += rng.uniform(0, TILE_MM, size=(len(length), 1, 1))
    return length.reshape(points.shape[:2])


def _patches(rng: np.random.Generator, s: Floats, theta: Floats) -> Floats:
    """Return a smooth field of about unit variance with features of a few centimetres."""
    total = np.zeros_like(s)
    for _ in range(10):
        turns, per_mm = rng.integers(0, 5), rng.uniform(0.03, 0.25)
        total += np.sin(turns * theta + per_mm * s + rng.uniform(0, tau))
    return total / 5**0.5


def normals(points: Floats) -> Floats:
    """Return unit normals of a closed grid of points `(rows, columns + 1, 3)`, on the side from
    which rows run down while columns run right."""
    down = np.gradient(points, axis=0)
    ring = np.concatenate([points[:, -2:-1], points, points[:, 1:2]], axis=1)
    normal = np.cross(down, ring[:, 2:] - ring[:, :-2])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return normal / np.maximum(length, 1e-12)
