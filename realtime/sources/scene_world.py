"""The synthetic colon's fixed part: centreline, wall and polyps, made from a seed.

Lengths are millimetres, angles radians. The colon is a loop: everything repeats every
`LENGTH_MM`, so that a recording can be of any length.
"""

from dataclasses import dataclass
from math import pi, tau
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LENGTH_MM = 480.0
Z_STEP_MM = 0.4
Z_CELLS = round(LENGTH_MM / Z_STEP_MM)
THETA_CELLS = 512
RADIUS_MM = 24.0
FOLD_GAP_MM = (22.0, 38.0)
FOLD_HEIGHT_MM = (7.0, 12.0)
FOLD_WIDTH_MM = (2.6, 4.0)
POLYP_GAP_MM = (20.0, 42.0)
BEND_MM = 26.0
MUCOSA_RGB = (0.86, 0.43, 0.30)
VESSEL_RGB = (0.66, 0.34, 0.40)
"""Share of the mucosa's colour that is left over a vessel."""
BUBBLE_PATCHES = 9


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Attributes:
    radius: `(Z_CELLS, THETA_CELLS)`, of the wall around the centreline.
    wall: `(Z_CELLS, THETA_CELLS, 7)`, see `kernels.scene.shade`.
    centre: `(Z_CELLS, 2)`, x and y of the centreline.
    spheres: `(n, 8) float64`, polyps' parts, see `kernels.scene.SPHERE_FIELDS`.
    """

    radius: FloatArray
    wall: FloatArray
    centre: FloatArray
    spheres: NDArray[np.float64]


def make_world(seed: int, polyps: bool) -> World:
    """The colon of a seed; without polyps it is the same colon otherwise."""
    tube = np.random.default_rng((seed, 0))
    centre = _centreline(tube)
    radius = _folded_radius(tube)
    albedo, wet, bumps = _mucosa(tube, radius)
    flat = np.zeros_like(radius)
    spheres = np.empty((0, 8))
    if polyps:
        growth = np.random.default_rng((seed, 1))
        spheres, flat = _polyps(growth, radius, centre)
        radius = radius - 1.4 * flat
        bumps = bumps - 0.8 * flat
        pale = np.array([1.0, 0.88, 0.86]) * (1 - 0.10 * flat[..., None])
        albedo = np.where(flat[..., None] > 0, albedo * (1 + flat[..., None] * (pale - 1)), albedo)
    wall = np.empty((*radius.shape, 7), np.float32)
    wall[..., :3] = albedo
    wall[..., 3], wall[..., 4] = _slopes(radius + bumps)
    wall[..., 5] = wet
    wall[..., 6] = np.clip(2 * flat, 0, 1)
    return World(radius.astype(np.float32), wall, centre.astype(np.float32), spheres)


def _centreline(rng: np.random.Generator) -> NDArray[np.float64]:
    z = np.arange(Z_CELLS) / Z_CELLS * tau
    line = np.zeros((Z_CELLS, 2))
    for axis in range(2):
        for turns in (1, 2, 3, 4):
            line[:, axis] += BEND_MM / turns**1.3 * np.sin(turns * z + rng.uniform(0, tau))
    return line


def _folded_radius(rng: np.random.Generator) -> NDArray[np.float64]:
    """Haustral folds, three-sided as the three taeniae make them, on an uneven tube."""
    z = (np.arange(Z_CELLS) * Z_STEP_MM)[:, None]
    theta = (np.arange(THETA_CELLS) / THETA_CELLS * tau)[None]
    radius = RADIUS_MM + 1.6 * _field(rng, 30, 30) + np.zeros((Z_CELLS, THETA_CELLS))
    twist = rng.uniform(0, tau)
    position = 0.0
    while position < LENGTH_MM - FOLD_GAP_MM[0]:
        position += rng.uniform(*FOLD_GAP_MM)
        tilt = 4.0 * np.cos(theta - rng.uniform(0, tau)) + 1.5 * np.cos(
            3 * theta - rng.uniform(0, tau)
        )
        width = rng.uniform(*FOLD_WIDTH_MM)
        sides = 0.66 + 0.34 * np.cos(3 * theta + twist + rng.normal(0, 0.25))
        sides = sides * (1 - 0.35 * np.clip(np.cos(theta - rng.uniform(0, tau)), 0, 1))
        away = _periodic(z - position - tilt, LENGTH_MM)
        ridge = np.exp(-((away / width) ** 2))
        radius -= rng.uniform(*FOLD_HEIGHT_MM) * sides * ridge
    return radius


def _mucosa(
    rng: np.random.Generator, radius: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Albedo `(..., 3)` red, green, blue; wetness; height of the fine relief in mm."""
    uneven = _field(rng, 14, 14)
    fine = _field(rng, 1.5, 1.5)
    yellow = _field(rng, 22, 22)
    albedo = np.array(MUCOSA_RGB) * (1 + 0.07 * uneven + 0.035 * fine)[..., None]
    albedo[..., 1] *= 1 + 0.06 * yellow
    vessels = np.maximum(_vessels(rng, 13, 0.07), 0.7 * _vessels(rng, 6, 0.10))
    vessels *= np.clip(0.6 + 0.6 * _field(rng, 18, 18), 0, 1)
    vessels *= np.clip((radius - RADIUS_MM + 5) / 3, 0.15, 1)
    albedo *= 1 - vessels[..., None] * (1 - np.array(VESSEL_RGB))
    relief = 0.07 * _field(rng, 2.2, 2.2) + 0.045 * _field(rng, 0.9, 0.9)
    relief += 0.22 * _field(rng, 7, 7)
    wet = np.clip(0.55 + 0.5 * _field(rng, 8, 8), 0.05, 1.2)
    _bubbles(rng, albedo, wet, relief)
    return albedo, wet, relief


def _vessels(rng: np.random.Generator, size_mm: float, width: float) -> NDArray[np.float64]:
    """Winding lines: where a smooth random field crosses zero, thinner where it does so fast."""
    field = _field(rng, size_mm, size_mm * 0.7) + 0.1 * _field(rng, 2.5, 2.5)
    return np.exp(-((field / width) ** 2))


def _bubbles(
    rng: np.random.Generator,
    albedo: NDArray[np.float64],
    wet: NDArray[np.float64],
    relief: NDArray[np.float64],
) -> None:
    """Patches of foam: rings of brighter, wetter film."""
    rings = np.zeros(albedo.shape[:2], np.float32)
    domes = np.zeros_like(rings)
    for _ in range(BUBBLE_PATCHES):
        middle = rng.uniform((0, 0), (THETA_CELLS, Z_CELLS))
        for _ in range(rng.integers(10, 60)):
            x, y = np.rint(middle + rng.normal(0, 22, 2)).astype(int)
            r = int(np.clip(rng.lognormal(1.1, 0.5), 2, 12))
            cv2.circle(rings, (int(x), int(y)), r, 1.0, 1, cv2.LINE_AA)
            cv2.circle(domes, (int(x), int(y)), r, 1.0, -1, cv2.LINE_AA)
    albedo *= 1 + 0.35 * rings[..., None] * np.array([1.0, 1.15, 0.9])
    wet += 0.8 * domes
    relief -= 0.35 * cv2.GaussianBlur(domes, (0, 0), 2.0)


def _polyps(
    rng: np.random.Generator, radius: NDArray[np.float64], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spheres of the raised polyps, and the `(nz, nt)` share of flat ones."""
    spheres: list[list[float]] = []
    flat = np.zeros_like(radius)
    makers = (_sessile, _pedunculated, _lobed, None, _sessile, _small)
    order = rng.permutation(len(makers))
    z, count = rng.uniform(6, 20), 0
    while z < LENGTH_MM - POLYP_GAP_MM[0] / 2:
        theta = rng.uniform(0, tau)
        maker = makers[order[count % len(makers)]]
        if maker is None:
            flat = np.maximum(flat, _flat(rng, z, theta))
        else:
            spheres += maker(rng, _Place(z, theta, radius, centre))
        z += rng.uniform(*POLYP_GAP_MM)
        count += 1
    return np.array(spheres), flat


class _Place:
    """A spot of the wall, from which parts of a polyp are measured inwards."""

    def __init__(
        self, z: float, theta: float, radius: NDArray[np.float64], centre: NDArray[np.float64]
    ) -> None:
        row = round(z / Z_STEP_MM) % Z_CELLS
        self.z, self.theta = z, theta
        self.radius = float(radius[row, round(theta / tau * THETA_CELLS) % THETA_CELLS])
        self.x, self.y = centre[row]

    def sphere(
        self, inwards_mm: float, along_mm: float, around_mm: float, size_mm: float,
        colour: NDArray[np.float64], seed: float,
    ) -> list[float]:  # fmt: skip
        r = self.radius - inwards_mm
        angle = self.theta + around_mm / self.radius
        x, y = self.x + r * np.cos(angle), self.y + r * np.sin(angle)
        return [x, y, self.z + along_mm, size_mm, *colour, seed]


def _tint(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.array([0.78, 0.31, 0.23]) * rng.uniform(0.9, 1.15) * rng.uniform(0.92, 1.08, 3)


def _sessile(rng: np.random.Generator, place: _Place) -> list[list[float]]:
    size = rng.uniform(4.5, 7.5)
    colour, seed = _tint(rng), rng.uniform(0, 1000)
    parts = [place.sphere(0.35 * size, 0, 0, size, colour, seed)]
    for _ in range(3):
        along, around = rng.normal(0, 0.32 * size, 2)
        part = rng.uniform(0.6, 0.85) * size
        parts.append(place.sphere(0.45 * size, along, around, part, colour, seed + 40))
    return parts


def _small(rng: np.random.Generator, place: _Place) -> list[list[float]]:
    size = rng.uniform(2.0, 3.2)
    pale = np.array([0.90, 0.55, 0.43])
    return [place.sphere(0.3 * size, 0, 0, size, pale, rng.uniform(0, 1000))]


def _lobed(rng: np.random.Generator, place: _Place) -> list[list[float]]:
    colour, seed = _tint(rng), rng.uniform(0, 1000)
    parts = []
    for _ in range(5):
        along, around = rng.normal(0, 3.2, 2)
        size = rng.uniform(2.6, 4.8)
        parts.append(place.sphere(0.45 * size, along, around, size, colour, seed))
    return parts


def _pedunculated(rng: np.random.Generator, place: _Place) -> list[list[float]]:
    """A head on a stalk, the stalk a string of small spheres."""
    head, reach = rng.uniform(4.2, 6.2), rng.uniform(5.0, 7.5)
    lean = rng.uniform(-3, 3)
    colour, seed = _tint(rng) * np.array([1.0, 0.86, 0.9]), rng.uniform(0, 1000)
    stalk = np.array([0.86, 0.46, 0.34])
    shares = np.linspace(0, 1, 7)
    parts = [place.sphere(s * reach, s * lean, 0, 1.7, stalk, seed + 7) for s in shares]
    parts.append(place.sphere(reach + 0.5 * head, 1.2 * lean, 0, head, colour, seed))
    return parts


def _flat(rng: np.random.Generator, z: float, theta: float) -> NDArray[np.float64]:
    """A slightly raised, paler plaque, 1 in the middle falling to 0 at a wavy border."""
    rows = _periodic(np.arange(Z_CELLS) * Z_STEP_MM - z, LENGTH_MM)[:, None]
    columns = _periodic(np.arange(THETA_CELLS) / THETA_CELLS * tau - theta, tau)[None] * RADIUS_MM
    wave = rng.uniform(0, tau)
    turn = np.arctan2(columns, rows)
    size = rng.uniform(4.5, 7.5) * (1 + 0.12 * np.cos(3 * turn + wave) + 0.07 * np.cos(5 * turn))
    return np.clip(3 * (1 - np.hypot(rows, 0.8 * columns) / size), 0, 1)


def _field(rng: np.random.Generator, z_mm: float, around_mm: float) -> NDArray[np.float64]:
    """A smooth periodic random field of zero mean and unit variance, with those feature sizes."""
    noise = np.fft.rfft2(rng.standard_normal((Z_CELLS, THETA_CELLS)))
    fz = np.fft.fftfreq(Z_CELLS, Z_STEP_MM)[:, None]
    ft = np.fft.rfftfreq(THETA_CELLS, tau * RADIUS_MM / THETA_CELLS)[None]
    noise *= np.exp(-2 * ((fz * z_mm / 2) ** 2 + (ft * around_mm / 2) ** 2) * pi / 2)
    noise[0, 0] = 0
    field = np.fft.irfft2(noise, s=(Z_CELLS, THETA_CELLS))
    return field / field.std()


def _slopes(height: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives of the wall's radius along z and around, dimensionless."""
    along = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) / (2 * Z_STEP_MM)
    arc = tau * RADIUS_MM / THETA_CELLS
    around = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / (2 * arc)
    return along, around


def _periodic(x: NDArray[np.floating[Any]], period: float) -> NDArray[np.floating[Any]]:
    """The representative of `x` nearest to 0."""
    return (x + period / 2) % period - period / 2
