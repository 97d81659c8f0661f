"""Computes what the kernels compute, pixel by pixel, slowly and readably (oracles)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.segmentation.geometry import Geometry

Pixel = tuple[int, int]
Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class NaiveFinding:
    box: tuple[int, int, int, int]
    score: float
    area_px: int


def segment(
    probability: Floats, geometry: Geometry, low: float, high: float, fraction: float, limit: int
) -> tuple[Bits, list[NaiveFinding]]:
    """Do the post-processing by its definition, without contours."""
    frame = interpolate(probability, geometry)
    filled = fill_holes(hysteresis(frame, low, high))
    blobs = [blob for blob in components(filled) if len(blob) + 1e-6 >= fraction * frame.size]
    blobs.sort(key=lambda blob: (-len(blob), _box(blob)[1], _box(blob)[0]))
    mask = np.zeros(frame.shape, np.uint8)
    for blob in blobs[:limit]:
        _set(mask, blob)
    return mask, [_finding(blob, frame) for blob in blobs[:limit]]


def interpolate(probability: Floats, geometry: Geometry) -> Floats:
    """Return the probability at each frame pixel: exact positions, float32, rows first."""
    x0, y0, x1, y1 = geometry.inner
    inner = np.clip(np.nan_to_num(probability[y0:y1, x0:x1], nan=0), 0, 1).astype(np.float32)
    upper, lower, weight = _neighbours(geometry.frame_h, geometry.inner_h)
    rows = inner[upper] + weight[:, None] * (inner[lower] - inner[upper])
    left, right, weight = _neighbours(geometry.frame_w, geometry.inner_w)
    return np.asarray(rows[:, left] + weight * (rows[:, right] - rows[:, left]))


def hysteresis(frame: Floats, low: float, high: float) -> Bits:
    """Keep components of at least `low` that reach `high` somewhere."""
    mask = np.zeros(frame.shape, np.uint8)
    for blob in components((frame >= np.float32(low)).astype(np.uint8)):
        if any(frame[pixel] >= np.float32(high) for pixel in blob):
            _set(mask, blob)
    return mask


def components(mask: Bits, diagonal: bool = True) -> list[list[Pixel]]:
    """List the pixels (y, x) of each component in raster order, by their first pixel."""
    steps = SIDES + CORNERS if diagonal else SIDES
    seen = np.zeros(mask.shape, bool)
    found = []
    for seed in np.argwhere(mask).tolist():
        if not seen[tuple(seed)]:
            found.append(sorted(_flood(mask, tuple(seed), steps, seen)))
    return found


def fill_holes(mask: Bits) -> Bits:
    """Set all background that is not 4-connected to the outside of the image."""
    background = np.pad(1 - mask, 1, constant_values=1)
    outside = np.zeros(background.shape, bool)
    _flood(background, (0, 0), SIDES, outside)
    return (1 - outside[1:-1, 1:-1]).astype(np.uint8)


def runs(mask: Bits) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return `spans (N, 2)` and `row_first (H + 1,)` of the pixels set in `mask`."""
    spans, row_first = [], [0]
    for row in mask:
        edges = np.flatnonzero(np.diff(row, prepend=0, append=0))
        spans += edges.reshape(-1, 2).tolist()
        row_first.append(len(spans))
    return np.array(spans, np.int32).reshape(-1, 2), np.array(row_first, np.int32)


def overlay_parts(mask: Bits, line_px: int, rim_px: int) -> Bits:
    """Return 0 nothing, 1 rim, 2 line, 3 fill, from the distance of each pixel to the mask."""
    parts = np.zeros(mask.shape, np.uint8)
    blob = np.argwhere(mask)
    for y, x in np.ndindex(mask.shape):
        nearest = min((int(v - y) ** 2 + int(u - x) ** 2 for v, u in blob), default=10**9)
        near_rim, near_line = (nearest <= r * (r + 1) for r in (line_px + rim_px, line_px))
        parts[y, x] = 3 if mask[y, x] else 2 if near_line else int(near_rim)
    return parts


def blend(value: int, colour: int, alpha_256: int) -> int:
    """Return the weighted mean of two 8-bit values, rounded half up."""
    return floor(Fraction(value * (256 - alpha_256) + colour * alpha_256, 256) + Fraction(1, 2))


def _neighbours(
    frame_px: int, inner_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    first, weight = [], []
    for index in range(frame_px):
        position = (index + Fraction(1, 2)) * inner_px / frame_px - Fraction(1, 2)
        position = min(max(position, Fraction(0)), Fraction(inner_px - 1))
        first.append(floor(position))
        weight.append(float(position - floor(position)))
    left = np.array(first)
    return left, np.minimum(left + 1, inner_px - 1), np.array(weight, np.float32)


def _flood(
    mask: Bits, seed: Pixel, steps: tuple[Pixel, ...], seen: NDArray[np.bool_]
) -> Iterator[Pixel]:
    seen[seed] = True
    todo, reached = [seed], []
    while todo:
        y, x = todo.pop()
        reached.append((y, x))
        for pixel in ((y + dy, x + dx) for dy, dx in steps):
            inside = 0 <= pixel[0] < mask.shape[0] and 0 <= pixel[1] < mask.shape[1]
            if inside and mask[pixel] and not seen[pixel]:
                seen[pixel] = True
                todo.append(pixel)
    return iter(reached)


def _set(mask: Bits, blob: list[Pixel]) -> None:
    for pixel in blob:
        mask[pixel] = 1


def _box(blob: list[Pixel]) -> tuple[int, int, int, int]:
    ys, xs = zip(*blob, strict=True)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def _finding(blob: list[Pixel], frame: Floats) -> NaiveFinding:
    total = 0.0
    for pixel in blob:
        total += float(frame[pixel])
    return NaiveFinding(_box(blob), total / len(blob), len(blob))
