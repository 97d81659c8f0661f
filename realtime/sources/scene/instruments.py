"""Makes instruments that come out of the endoscope's channel: forceps, snare and catheter.

Lengths are in millimetres. An instrument's own axes have z along its shaft, and 0 at its tip.
"""

from dataclasses import dataclass
from functools import cache
from math import pi, sin, tau

import numpy as np

from qlumen.kernels.scene import VERTEX_FIELDS
from qlumen.realtime.sources.scene.tube import Floats, Grid, normals

SHAFT_MM = 60.0
SHAFT_RADIUS_MM = 1.15
COIL_MM = 0.9
"""Distance of the turns of a forceps' steel coil."""
JAW_MM, JAW_RADIUS_MM, JAW_RAD = 5.0, 0.95, 0.75
"""Length and radius of a jaw, and its angle when it is fully open."""
LOOP_MM, WIRE_MM = (11.0, 6.5), 0.36
"""Length and half width of a snare's open loop, and the radius of its wire."""
SPOKES = 16
STEEL, SHEATH, MARK = 3, 4, 5
"""Kinds of matter, rows of `MATTERS` from 1."""

Part = tuple[Grid, int]
"""A grid and its kind of matter."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """Describes an instrument at one moment.

    Attributes:
        kind: `forceps`, `snare` or `catheter`.
        side: -1 when it comes from the lower left corner, 1 from the lower right.
        out_mm: distance of its tip ahead of the lens.
        opening: opening of the jaws or of the loop, 0 to 1.
        turn: angle around its own axis.
        tilt: angles of the shaft to the axis of view, right and down.
    """

    kind: str
    side: int
    out_mm: float
    opening: float
    turn: float
    tilt: tuple[float, float]

    def pose(self) -> Floats:
        """Return the camera's `(4, 3)` pose in the instrument's axes, for `scene.project`."""
        ahead = np.array([sin(self.tilt[0]), sin(self.tilt[1]), 1.0])
        ahead /= np.linalg.norm(ahead)
        right = np.cross([-sin(self.turn), np.cos(self.turn), 0.0], ahead)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(ahead, right), ahead])
        channel = np.array([CHANNEL_MM[0] * self.side, CHANNEL_MM[1], 0.0])
        tip = channel + self.out_mm * ahead
        return np.concatenate([-(axes @ tip)[None], axes.T])

    def parts(self) -> list[Part]:
        """Return the instrument's bodies in its own axes."""
        if self.kind == "forceps":
            return [(_coil(), STEEL), *((_jaw(s, self.opening), STEEL) for s in (-1, 1))]
        if self.kind == "snare":
            return [(_sheath(), SHEATH), (_ring(), MARK), (_loop(self.opening), STEEL)]
        return [(_sheath(), SHEATH), (_ring(), MARK)]


CHANNEL_MM = (3.4, 3.6)
"""Distance of the channel's mouth from the lens, to the side and down."""
KINDS = ("forceps", "snare", "catheter")


@cache
def _coil() -> Grid:
    z = np.linspace(-SHAFT_MM, -0.4, round(SHAFT_MM / COIL_MM * 4))
    turns = np.cos(tau * z / COIL_MM)
    grid = sweep(_straight(z), SHAFT_RADIUS_MM * (0.97 + 0.03 * turns))
    grid[..., 9] = (0.72 + 0.28 * turns)[:, None]
    return grid


def _jaw(side: int, opening: float) -> Grid:
    """Return a spoon that turns at its end around the pivot at the shaft's tip."""
    t = np.linspace(0, 1, 24)
    angle = side * (0.12 + JAW_RAD * opening)
    reach = JAW_MM * t
    curl = side * 0.9 * np.sin(pi * t) * (0.4 + 0.6 * opening)
    x, z = reach * np.sin(angle) + curl, reach * np.cos(angle) - 0.5
    radius = JAW_RADIUS_MM * np.sqrt(np.clip(np.sin(pi * (0.12 + 0.88 * t)), 0, 1)) + 0.02
    return sweep(np.stack([x, 0 * t, z], axis=1), radius)


@cache
def _sheath() -> Grid:
    z = np.concatenate([np.linspace(-SHAFT_MM, 0, 80), np.linspace(0, 0.05, 4)[1:]])
    radius = SHAFT_RADIUS_MM * np.concatenate([np.ones(80), np.linspace(1, 0.05, 4)[1:]])
    return sweep(_straight(z), radius)


@cache
def _ring() -> Grid:
    z = np.linspace(-3.4, -1.6, 8)
    return sweep(_straight(z), np.full(8, SHAFT_RADIUS_MM + 0.06))


def _loop(opening: float) -> Grid:
    """Return a wire that leaves the sheath, goes round a drop-shaped loop, and comes back."""
    t = np.linspace(0, 1, 72)
    long, wide = LOOP_MM[0] * (0.25 + 0.75 * opening), LOOP_MM[1] * opening
    z = long * np.sin(pi * t) ** 1.2
    x = wide * np.sin(tau * t) * (0.35 + 0.65 * np.sin(pi * t)) + 0.15 * np.cos(pi * t)
    return sweep(np.stack([x, 0.12 * z, z], axis=1), np.full(len(t), WIRE_MM), spokes=8)


def _straight(z: Floats) -> Floats:
    return np.stack([0 * z, 0 * z, z], axis=1)


def sweep(path: Floats, radius: Floats, spokes: int = SPOKES) -> Grid:
    """Sweep a circle along a path.

    Args:
        path: `(n, 3)`, never along y.
        radius: `(n,)`.

    Returns:
        `(n, spokes + 1, VERTEX_FIELDS)`, whose front is its outside.
    """
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0]) - along * along[:, 1:2]
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    side = np.cross(along, up)
    phi = np.linspace(0, tau, spokes + 1)
    phi[-1] = 0.0
    spoke = np.cos(phi)[:, None] * up[:, None] - np.sin(phi)[:, None] * side[:, None]
    points = path[:, None] + radius[:, None, None] * spoke
    grid = np.zeros((*points.shape[:2], VERTEX_FIELDS), np.float32)
    grid[..., :3] = points
    grid[..., 3:6] = normals(points)
    grid[..., 6] = phi / 60
    grid[..., 7] = path[:, 2:3] / 60
    grid[..., 8] = 0.5
    grid[..., 9] = 1.0
    return grid
