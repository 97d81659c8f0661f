"""Makes polyps of the synthetic colon: turned, dented shapes that stand on its wall.

Lengths are in millimetres. The kinds are those of the Paris classification: sessile (Is),
pedunculated (Ip), slightly elevated (IIa), and small pale ones like hyperplastic polyps.
"""

from dataclasses import dataclass
from math import pi, tau

import numpy as np

from qlumen.kernels.scene import VERTEX_FIELDS
from qlumen.kernels.scene_light import TILE_MM
from qlumen.realtime.sources.scene.tube import (
    FOLD_MM,
    RADIUS_MM,
    ROWS_PER_FOLD,
    Floats,
    Grid,
    Tube,
    normals,
)

FIRST_MM = 78.0
LAST_MM = 520.0
PAIR_MM, STRETCH_MM = (24.0, 38.0), (130.0, 160.0)
"""Distance between the polyps of a pair, and from one pair to the next."""
RINGS, SPOKES = 36, 60
SUNK_MM = 1.5
"""Depth of a polyp's base below the wall, so that no gap shows."""


@dataclass(frozen=True, slots=True)
class PolypKind:
    """Describes a kind of polyp.

    Attributes:
        radius_mm: smallest and largest radius in mm.
        dents: depth of the lobes, as a share of the radius.
        redness, pits: see `kernels.scene.VERTEX_FIELDS`.
        height: smallest and largest height of the cap over its radius.
    """

    radius_mm: tuple[float, float]
    dents: float
    redness: float
    pits: float
    height: tuple[float, float]
    stalked: bool = False


SESSILE = PolypKind((5.5, 8.5), 0.055, 0.88, 0.75, (0.62, 0.9))
STALKED = PolypKind((5.0, 7.0), 0.050, 0.95, 0.9, (0.9, 1.2), stalked=True)
FLAT = PolypKind((7.5, 10.5), 0.030, 0.50, 0.65, (0.20, 0.28))
SMALL = PolypKind((3.0, 4.2), 0.040, 0.15, 0.25, (0.6, 0.8))
ORDER = (SESSILE, STALKED, FLAT, SMALL)


@dataclass(frozen=True, slots=True, eq=False)
class Polyp:
    """Holds a polyp's surface and its place.

    Attributes:
        grid: `(RINGS, SPOKES + 1, VERTEX_FIELDS)`.
        s: distance along the centreline.
        tip, foot: highest point, and the point where it grows from the wall, `(3,)`.
    """

    grid: Grid
    s: float
    tip: Floats
    foot: Floats


def make_polyps(rng: np.random.Generator, tube: Tube) -> list[Polyp]:
    """Make polyps of each kind in order, in pairs with healthy wall between them."""
    polyps: list[Polyp] = []
    s = FIRST_MM
    while s < LAST_MM:
        polyps.append(_polyp(rng, tube, s, ORDER[len(polyps) % len(ORDER)]))
        s += rng.uniform(*(PAIR_MM if len(polyps) % 2 else STRETCH_MM))
    return polyps


def _polyp(rng: np.random.Generator, tube: Tube, s: float, kind: PolypKind) -> Polyp:
    row, column = _place(rng, tube, s)
    foot = tube.grid[row, column, :3].astype(np.float64)
    inward = tube.grid[row, column, 3:6].astype(np.float64)
    along = tube.grid[row + 1, column, :3] - foot
    along -= inward * (along @ inward)
    along /= np.linalg.norm(along)
    axes = np.stack([along, np.cross(inward, along), inward])
    radius = rng.uniform(*kind.radius_mm)
    shape = _shape(rng, kind, radius)
    bow = shape[..., 1] ** 2 / (2 * RADIUS_MM)
    world = foot + (shape + bow[..., None] * [0, 0, 1]) @ axes
    return Polyp(_grid(rng, kind, radius, shape, world), float(tube.s[row]), world[0, 0], foot)


def _place(rng: np.random.Generator, tube: Tube, s: float) -> tuple[int, int]:
    """Choose row and column of the wall behind a high part of a fold, where polyps hide."""
    edge = int(np.argmin(np.abs(tube.folds - s))) * ROWS_PER_FOLD
    row = edge + int(rng.integers(len(FOLD_MM) - 1, ROWS_PER_FOLD - len(FOLD_MM)))
    points = tube.grid[..., :-1, :3]
    tall = np.linalg.norm(points[edge] - points[row], axis=1)
    return row, int(rng.choice(np.argsort(tall)[len(tall) // 2 :]))


def _shape(rng: np.random.Generator, kind: PolypKind, radius: float) -> Floats:
    """Return `(RINGS, SPOKES + 1, 3)`: along the colon, around it, and away from the wall."""
    reach, height = (_stalk if kind.stalked else _cap)(rng, kind, radius)
    phi = np.linspace(0, tau, SPOKES + 1)
    phi[-1] = 0.0
    oval = 1 + rng.uniform(0.0, 0.22) * np.cos(2 * (phi - rng.uniform(0, tau)))
    wide = reach[:, None] * oval
    rise = np.repeat(height[:, None], SPOKES + 1, axis=1)
    shape = np.stack([wide * np.cos(phi), wide * np.sin(phi), rise], axis=-1)
    if kind.stalked:
        bent = np.clip(height / (height[0] - 1.7 * radius), 0, 1)[:, None, None] ** 2
        shape[..., :2] += rng.uniform(-0.9, 0.9, 2) * radius * bent
    return _dent(rng, shape, kind.dents * radius, radius)


def _cap(rng: np.random.Generator, kind: PolypKind, radius: float) -> tuple[Floats, Floats]:
    """Return reach from the axis and height, from the tip down to below the wall."""
    angle = np.linspace(0, 0.64 * pi, 160)
    tall = radius * rng.uniform(*kind.height)
    flatness = 0.6 if tall < 0.4 * radius else 0.9
    cosine = np.cos(angle)
    height = tall * (0.12 + np.sign(cosine) * np.abs(cosine) ** flatness)
    height[-30:] -= np.linspace(0, SUNK_MM, 30)
    return _even(radius * np.sin(angle), height)


def _stalk(rng: np.random.Generator, kind: PolypKind, radius: float) -> tuple[Floats, Floats]:
    """Return the same as `_cap` for a head, a narrow neck and a foot that widens."""
    angle = np.linspace(0, 0.86 * pi, 160)
    tall, stalk = radius * rng.uniform(*kind.height), radius * rng.uniform(0.4, 1.0)
    middle = stalk - tall * np.cos(angle[-1])
    t = np.linspace(0, 1, 100)
    neck = radius * np.sin(angle[-1]) * (1 - 0.25 * np.sin(pi * t)) + 0.35 * radius * t**6
    reach = np.concatenate([radius * np.sin(angle), neck])
    height = np.concatenate([middle + tall * np.cos(angle), stalk - t * (stalk + SUNK_MM)])
    return _even(reach, height)


def _even(reach: Floats, height: Floats) -> tuple[Floats, Floats]:
    """Return the same profile as `RINGS` points at equal distances."""
    steps = np.hypot(np.diff(reach), np.diff(height))
    length = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0, length[-1], RINGS)
    return np.interp(places, length, reach), np.interp(places, length, height)


def _dent(rng: np.random.Generator, shape: Floats, depth: float, radius: float) -> Floats:
    """Push the surface with waves in random directions: lobes, and smaller lobes on them."""
    push = np.zeros(shape.shape[:2])
    for size, share in ((1.7, 1.0), (1.3, 0.9), (1.0, 0.7), (0.8, 0.6), (0.6, 0.4), (0.5, 0.4)):
        for _ in range(2):
            wave = rng.normal(0, 1, 3)
            wave *= tau / (size * radius * np.linalg.norm(wave))
            push += share * np.sin(shape @ wave + rng.uniform(0, tau))
    out = normals(shape)
    out[0] = [0, 0, 1]
    push[0] = push[0].mean()
    return shape + depth * push[..., None] * out


def _grid(
    rng: np.random.Generator, kind: PolypKind, radius: float, shape: Floats, world: Floats
) -> Grid:
    rise = shape[..., 2]
    out = normals(world)
    out[0] = out[1].mean(axis=0)
    head = np.clip((rise / rise.max() - 0.35) / 0.2, 0, 1) if kind.stalked else np.ones(1)
    arc = np.linspace(0, 2.2 * radius / TILE_MM, RINGS)[:, None]
    phi = np.linspace(0, tau, SPOKES + 1)
    grid = np.empty((*rise.shape, VERTEX_FIELDS), np.float32)
    grid[..., :3] = world
    grid[..., 3:6] = out / np.linalg.norm(out, axis=-1, keepdims=True)
    grid[..., 6] = rng.uniform() + arc * np.cos(phi)
    grid[..., 7] = rng.uniform() + arc * np.sin(phi)
    grid[..., 8] = 0.3 + (kind.redness + rng.normal(0, 0.18) - 0.3) * head
    grid[..., 9] = (0.86 + 0.14 * np.clip(rise / (0.25 * radius), 0, 1)) * (1.08 - 0.06 * head)
    grid[..., 10] = -kind.pits * head
    return grid
