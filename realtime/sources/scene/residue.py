"""Makes what a colon that is not clean has on its wall: stool, puddles and foam.

Lengths are in millimetres.
"""

from dataclasses import dataclass
from math import tau

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from qlumen.kernels.scene_light import TILE_MM
from qlumen.realtime.sources.scene.tube import (
    COLUMNS,
    RADIUS_MM,
    ROWS_PER_FOLD,
    Floats,
    Grid,
    Tube,
    normals,
)

FIRST_MM, LAST_MM = 70.0, 560.0
LUMPS, FILMS, PUDDLES, FOAMS = 7, 8, 5, 9
LUMP_MM, FILM_MM, FOAM_MM = (6.0, 17.0), (10.0, 26.0), (5.0, 11.0)
"""Smallest and largest radius."""
LUMP_HEIGHT_MM, FILM_HEIGHT_MM = (1.6, 3.6), (0.4, 0.7)
SUNK_MM = 0.5
"""Depth below the wall of the parts of a patch that do not show."""
FINER = 2
"""Steps of a patch for each step of the wall; every second vertex is the wall's."""
PUDDLE_MM, PUDDLE_ROWS, RIPPLE = 22.0, 48, 0.22
"""Half the side of a puddle's sheet, its rows and columns, and the slope of its ripples."""
PUDDLE_DEPTH_MM = (2.0, 4.5)
ROUND = 1.3
"""Width of a puddle, around the colon, over its length; its rim bends down into the wall."""
BUBBLES = (50, 130)
BUBBLE_MM = (0.25, 2.2)
STOOL, LIQUID = 1, 2
"""Kinds of matter, rows of `MATTERS` from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Matter:
    """Holds a body in the colon that is no part of the wall.

    Attributes:
        grid: `(rows, columns, VERTEX_FIELDS)`.
        shown: `(rows, columns)`, False for vertices that lie below the wall with all around them.
        kind: row of `MATTERS`, from 1.
        s: distance along the centreline.
    """

    grid: Grid
    shown: NDArray[np.bool_]
    kind: int
    s: float


def make_residue(rng: np.random.Generator, tube: Tube) -> list[Matter]:
    """Make lumps and films of stool, and puddles at the lowest places between folds."""
    angle = rng.uniform(0, tau)
    gravity = np.array([np.cos(angle), np.sin(angle), 0.0])
    return [
        *(_stool(rng, tube, LUMP_MM, LUMP_HEIGHT_MM) for _ in range(LUMPS)),
        *(_stool(rng, tube, FILM_MM, FILM_HEIGHT_MM) for _ in range(FILMS)),
        *(_puddle(rng, tube, gravity) for _ in range(PUDDLES)),
    ]


def make_foam(rng: np.random.Generator, tube: Tube) -> Floats:
    """Make the bubbles of all patches of foam, `(n, 5)`, see `scene_obstacles.draw_bubbles`."""
    patches = []
    for _ in range(FOAMS):
        radius = rng.uniform(*FOAM_MM)
        grid, away, _ = _patch(rng, tube, radius)
        places = np.argwhere(away < radius * rng.uniform(0.5, 1.0, away.shape))
        places = places[rng.permutation(len(places))[: rng.integers(*BUBBLES)]]
        chosen = grid[places[:, 0], places[:, 1]]
        size = np.clip(rng.lognormal(-0.6, 0.6, len(places)), *BUBBLE_MM)
        film = rng.uniform(0.08, 0.45) * rng.uniform(0.5, 1.0, len(places))
        middle = chosen[:, :3] + 0.4 * size[:, None] * chosen[:, 3:6]
        patches.append(np.column_stack([middle, size, film]))
    return np.concatenate(patches)


def _stool(
    rng: np.random.Generator, tube: Tube, radii: tuple[float, float], heights: tuple[float, float]
) -> Matter:
    """Raise a patch of the wall by noise: its outline is where it comes out of the wall."""
    radius, tall, rough = rng.uniform(*radii), rng.uniform(*heights), rng.uniform(0.08, 0.22)
    grid, away, s = _patch(rng, tube, radius)
    coarse, fine, finest = (_noise(rng, away.shape, size) for size in (0.30, 0.11, 0.045))
    bulk = 0.75 - 1.5 * (away / radius) ** 2 + 0.55 * coarse + 0.28 * fine
    height = tall * np.tanh(bulk) + rough * np.minimum(tall, 1.2) * finest * np.clip(3 * bulk, 0, 1)
    height = np.maximum(height, -SUNK_MM)
    grid[..., :3] += height[..., None] * grid[..., 3:6]
    grid[..., 3:6] = normals(grid[..., :3].astype(np.float64))
    grid[..., 8] = rng.uniform(0.1, 0.75) + 0.22 * coarse + 0.14 * fine
    grid[..., 9] = 0.95 + 0.10 * np.clip(fine, -2, 2) + 0.12 * np.clip(height / tall, -0.5, 1)
    return _matter(grid, height > -min(0.25 * tall, 0.4), STOOL, s)


def _puddle(rng: np.random.Generator, tube: Tube, gravity: Floats) -> Matter:
    """Lay a level surface over the lowest place between two folds."""
    row = _row(rng, tube) // ROWS_PER_FOLD * ROWS_PER_FOLD + ROWS_PER_FOLD // 2
    ring = tube.grid[row, :-1, :3].astype(np.float64)
    bottom = ring[np.argmax(ring @ gravity)]
    along = tube.grid[row + 1, 0, :3].astype(np.float64) - tube.grid[row - 1, 0, :3]
    along -= gravity * (along @ gravity)
    along /= np.linalg.norm(along)
    side = np.cross(along, gravity)
    steps = np.linspace(-PUDDLE_MM, PUDDLE_MM, PUDDLE_ROWS)
    shape = PUDDLE_ROWS, PUDDLE_ROWS
    grid = np.zeros((*shape, tube.grid.shape[2]), np.float32)
    level = bottom - rng.uniform(*PUDDLE_DEPTH_MM) * gravity
    away = np.hypot(steps[:, None] * ROUND, steps) / PUDDLE_MM
    sunk = 2 * PUDDLE_MM * np.clip(away - 0.65, 0, None)[..., None] ** 2 * gravity
    grid[..., :3] = level + steps[:, None, None] * along + steps[None, :, None] * side + sunk
    ripples = [RIPPLE * _noise(rng, shape, 0.07)[..., None] * axis for axis in (along, side)]
    grid[..., 3:6] = ripples[0] + ripples[1] - gravity
    grid[..., 6], grid[..., 7] = steps[None] / TILE_MM, steps[:, None] / TILE_MM
    grid[..., 8] = rng.uniform(0.1, 0.7) + 0.12 * _noise(rng, shape, 0.15)
    grid[..., 9] = 1.0 + 0.05 * _noise(rng, shape, 0.08)
    return _matter(grid, np.ones(shape, bool), LIQUID, float(tube.s[row]))


def _patch(rng: np.random.Generator, tube: Tube, radius: float) -> tuple[Grid, Floats, float]:
    """Return a finer copy of a piece of the wall, the distance of its vertices from its middle,
    and its place along the colon."""
    row, column = _row(rng, tube), int(rng.integers(COLUMNS))
    reach = radius * 1.25
    first, last = np.searchsorted(tube.s, [tube.s[row] - reach, tube.s[row] + reach])
    wide = min(COLUMNS // 2, int(np.ceil(reach * COLUMNS / (tau * 0.6 * RADIUS_MM))))
    columns = np.arange(column - wide, column + wide + 1)
    piece = tube.grid[first:last, columns % COLUMNS].copy()
    piece[..., 6] += columns // COLUMNS
    piece[..., 7] = piece[..., 7] - piece[:1, :, 7]
    finer = [FINER - (FINER - 1) / size for size in piece.shape[:2]]
    grid: Grid = zoom(piece, (*finer, 1), order=1)
    grid[..., 3:6] /= np.linalg.norm(grid[..., 3:6], axis=-1, keepdims=True)
    away = np.linalg.norm(grid[..., :3] - tube.grid[row, column, :3], axis=-1).astype(np.float64)
    return grid, away, float(tube.s[row])


def _row(rng: np.random.Generator, tube: Tube) -> int:
    return int(np.searchsorted(tube.s, rng.uniform(FIRST_MM, LAST_MM)))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> Floats:
    """Return smooth noise of unit variance; `size` is that of its features over the patch's."""
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), size * max(shape) / 2.5)
    unit: Floats = (field - field.mean()) / field.std()
    return unit


def _matter(grid: Grid, out: NDArray[np.bool_], kind: int, s: float) -> Matter:
    """Leave out what lies below the wall, but for a margin of one vertex."""
    shown = cv2.dilate(out.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    used = np.ix_(shown.any(axis=1), shown.any(axis=0))
    return Matter(np.ascontiguousarray(grid[used]), shown[used], kind, s)
