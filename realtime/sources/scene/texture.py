"""Makes the mucosa's texture: a tile that repeats, with vessels, pits, wet relief and foam."""

from math import cos, sin, tau

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene_light import TILE_FIELDS, TILE_LEVELS, TILE_MM

Field = NDArray[np.float32]
Stroke = tuple[float, tuple[int, int], tuple[int, int]]

SIZE = 1024
PER_MM = SIZE / TILE_MM
VESSEL_TREES = 200
VESSEL_PX = (1.2, 3.4)
"""Smallest and largest width of a tree's stem."""
THINNEST_PX = 0.7
FOAM_PATCHES = 6
BUBBLES_TRIED = 240
FRACTION_BITS = 3
"""Fraction bits of coordinates in OpenCV's drawing."""


def make_tiles(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Make `(TILE_LEVELS, SIZE, SIZE) uint64`, see `kernels.scene_light.shade`."""
    tile = np.empty((SIZE, SIZE, TILE_FIELDS), np.float32)
    tile[..., 0] = _vessels(rng)
    tile[..., 1] = _mottle(rng)
    tile[..., 2] = np.clip(0.45 + 0.35 * _pattern(rng, 1.1, 1.1), 0, 1)
    tile[..., 3:6] = _relief(rng)
    tile[..., 6], tile[..., 7] = _foam(rng)
    tiles = np.zeros((TILE_LEVELS, SIZE, SIZE), np.uint64)
    for level in range(TILE_LEVELS):
        side = SIZE >> level
        tiles[level, :side, :side] = _pack(tile)
        tile = _halve(tile)
    return tiles


def _pack(tile: Field) -> NDArray[np.uint64]:
    """Pack fields of 0 to 1 as the bytes of a word; the first is the lowest byte."""
    values = np.clip(tile * 255 + 0.5, 0, 255).astype(np.uint8)
    return values.view("<u8")[..., 0].astype(np.uint64)


def _halve(tile: Field) -> Field:
    """Average 2 x 2; the relief keeps more contrast, because highlights are sharp far away."""
    half = (tile[::2, ::2] + tile[1::2, ::2] + tile[::2, 1::2] + tile[1::2, 1::2]) / 4
    half[..., 3:6] = 0.5 + 1.08 * (half[..., 3:6] - 0.5)
    return half.astype(np.float32)


def _cloud(rng: np.random.Generator, around_mm: float, along_mm: float) -> Field:
    """Return a random field that repeats, of unit variance, with this feature size or larger."""
    return _filter_noise(rng, np.exp(-2 * _wave_numbers(around_mm, along_mm)))


def _pattern(rng: np.random.Generator, around_mm: float, along_mm: float) -> Field:
    """Return a field like `_cloud`, without larger features."""
    return _filter_noise(rng, np.exp(-4 * (np.sqrt(_wave_numbers(around_mm, along_mm)) - 1) ** 2))


def _wave_numbers(around_mm: float, along_mm: float) -> Field:
    """Return squared waves per feature size, over the frequencies of a real FFT."""
    along = np.fft.fftfreq(SIZE, 1 / PER_MM)[:, None] * along_mm
    around = np.fft.rfftfreq(SIZE, 1 / PER_MM)[None] * around_mm
    return (along**2 + around**2).astype(np.float32)


def _filter_noise(rng: np.random.Generator, weight: Field) -> Field:
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE), dtype=np.float32)) * weight
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(SIZE, SIZE)).astype(np.float32)
    return field / field.std()


def _mottle(rng: np.random.Generator) -> Field:
    """Return uneven colour, with the fine grooves that run around the colon."""
    uneven = 0.10 * _cloud(rng, 4, 4) + 0.10 * _cloud(rng, 0.9, 0.7)
    return 0.5 + uneven + 0.06 * _pattern(rng, 4.0, 0.9)


def _relief(rng: np.random.Generator) -> Field:
    """Return `(SIZE, SIZE, 3)`, 0.5 where the surface is even; some places are rougher."""
    rough = 0.75 + 0.45 * np.clip(_cloud(rng, 9, 9), -1.4, 1.4)
    axes = [_cloud(rng, 0.8, 0.5) + 0.45 * _cloud(rng, 5, 4) for _ in range(3)]
    return 0.5 + 0.17 * rough[..., None] * np.stack(axes, axis=-1)


def _vessels(rng: np.random.Generator) -> Field:
    """Return trees that branch and get thinner, over a faint net of capillaries."""
    strokes: list[Stroke] = []
    for _ in range(VESSEL_TREES):
        x, y = rng.uniform(SIZE / 2, 3 * SIZE / 2, 2).tolist()
        _grow(rng, x, y, rng.uniform(0, tau), rng.uniform(*VESSEL_PX), strokes)
    canvas = np.zeros((2 * SIZE, 2 * SIZE), np.float32)
    for width, a, b in sorted(strokes):
        depth = min(1.0, 0.3 + 0.2 * width)
        cv2.line(canvas, a, b, depth, max(1, round(width)), cv2.LINE_AA, FRACTION_BITS)
    tile = _fold(canvas)
    soft = 0.6 * cv2.GaussianBlur(tile, (0, 0), 0.8) + 0.5 * cv2.GaussianBlur(tile, (0, 0), 2.5)
    net = np.exp(-((_cloud(rng, 2.6, 2.6) / 0.10) ** 2)) * np.clip(_cloud(rng, 9, 9), 0, 1)
    return np.clip(soft + 0.4 * net, 0, 1)


def _grow(
    rng: np.random.Generator, x: float, y: float, heading: float, width: float,
    strokes: list[Stroke],
) -> None:  # fmt: skip
    """Add the strokes of a branch, and of the branches that leave it, to `strokes`."""
    at = _to_fixed_point(x, y)
    while width > THINNEST_PX:
        heading += 0.20 * rng.standard_normal()
        x += (5.0 + width) * cos(heading)
        y += (5.0 + width) * sin(heading)
        if max(abs(x - SIZE), abs(y - SIZE)) > SIZE - 4:
            return
        to = _to_fixed_point(x, y)
        strokes.append((width, at, to))
        at = to
        width *= 0.975
        if rng.random() < 0.13:
            turn = rng.choice([-1, 1]) * rng.uniform(0.4, 0.95)
            _grow(rng, x, y, heading + turn, width * rng.uniform(0.5, 0.8), strokes)
            heading -= 0.3 * turn


def _to_fixed_point(x: float, y: float) -> tuple[int, int]:
    """Convert to OpenCV's integer coordinates with `FRACTION_BITS` behind the point."""
    return round(x * 2**FRACTION_BITS), round(y * 2**FRACTION_BITS)


def _fold(canvas: Field) -> Field:
    """Fold a canvas that is twice as large both ways into a tile that repeats."""
    return canvas.reshape(2, SIZE, 2, SIZE).max(axis=(0, 2))


def _foam(rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the film around bubbles, and the lamps' reflections in them."""
    film = np.zeros((2 * SIZE, 2 * SIZE), np.float32)
    glints = np.zeros_like(film)
    for _ in range(FOAM_PATCHES):
        for x, y, radius in _place_bubbles(rng):
            _disc(film, x, y, radius, 0.25, cv2.FILLED)
            _disc(film, x, y, radius, 1.0, 1)
            for _ in range(rng.integers(1, 2 + int(min(radius, 20) / 6))):
                angle, out = rng.uniform(0, tau), rng.uniform(0.1, 0.7) * radius
                spot = rng.uniform(0.3, 0.5 + 0.10 * radius)
                _disc(glints, x + out * np.cos(angle), y + out * np.sin(angle), spot, 1.0, -1)
    return _fold(film), _fold(glints)


def _place_bubbles(rng: np.random.Generator) -> NDArray[np.float64]:
    """Place bubbles of a patch without overlap, as rows of x, y and radius in texels."""
    middle = rng.uniform(SIZE / 2, 3 * SIZE / 2, 2)
    spread = rng.uniform(10, 55, 2)
    kept = np.empty((0, 3))
    for _ in range(BUBBLES_TRIED):
        place = middle + rng.normal(0, 1, 2) * spread
        radius = np.clip(rng.lognormal(1.9, 0.6), 2.5, 26)
        gaps = np.hypot(*(kept[:, :2] - place).T) - 0.93 * (kept[:, 2] + radius)
        if np.all(gaps > 0):
            kept = np.vstack([kept, [*place, radius]])
    return kept


def _disc(canvas: Field, x: float, y: float, radius: float, value: float, line: int) -> None:
    size = round(radius * 2**FRACTION_BITS)
    cv2.circle(canvas, _to_fixed_point(x, y), size, value, line, cv2.LINE_AA, FRACTION_BITS)
