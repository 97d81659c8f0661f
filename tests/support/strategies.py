"""Defines Hypothesis strategies: masks, boxes, probability maps, geometries, thresholds."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Box
from qlumen.realtime.segmentation.geometry import Geometry

EIGHTHS = st.integers(1, 7).map(lambda eighth: eighth / 8)
Rng = np.random.Generator


def sizes(largest: int) -> st.SearchStrategy[tuple[int, int]]:
    """Draw width and height."""
    return st.tuples(st.integers(1, largest), st.integers(1, largest))


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> Box:
    """Draw a half-open box that is not empty, in an image of that size."""
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))


@st.composite
def geometries(draw: st.DrawFn, largest_frame: int = 40, largest_network: int = 16) -> Geometry:
    """Draw frames larger, smaller and thinner than the network's input, in both fits."""
    fit = draw(st.sampled_from(("stretch", "letterbox")))
    return Geometry.of(draw(sizes(largest_frame)), draw(sizes(largest_network)), fit)


@st.composite
def thresholds(draw: st.DrawFn) -> tuple[float, float]:
    """Draw low and high as multiples of 1/8, so that quantised maps meet them exactly."""
    first, second = draw(EIGHTHS), draw(EIGHTHS)
    return min(first, second), max(first, second)


@st.composite
def probability_maps(draw: st.DrawFn, width: int, height: int) -> NDArray[np.float32]:
    """Draw noise, coarse noise, checkerboards, blobs, rings with islands, flat, dirty maps."""
    make = draw(st.sampled_from(_MAPS))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return np.ascontiguousarray(make(rng, height, width), np.float32)


@st.composite
def masks(draw: st.DrawFn, largest: int = 24) -> NDArray[np.uint8]:
    """Draw masks of 0 and 1 of all kinds of `probability_maps`."""
    width, height = draw(sizes(largest))
    level = draw(EIGHTHS)
    probability = draw(probability_maps(width, height))
    return (np.nan_to_num(probability) >= level).astype(np.uint8)


def _noise(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    return rng.random((height, width))


def _coarse_noise(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    return np.round(rng.random((height, width)) * 8) / 8


def _checkerboard(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    y, x = np.mgrid[:height, :width]
    return ((x + y) % 2) * rng.random()


def _blobs(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    y, x = np.mgrid[:height, :width]
    result = np.zeros((height, width))
    for _ in range(rng.integers(1, 4)):
        distance = np.hypot(x - rng.random() * width, y - rng.random() * height)
        radius = rng.random() * max(height, width) / 2
        result = np.maximum(result, 1 / (1 + np.exp(distance - radius)))
    return result


def _rings(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    """Make nested rectangles with some gaps: holes, islands in holes, open holes."""
    y, x = np.mgrid[:height, :width]
    depth = np.minimum(np.minimum(x, y), np.minimum(width - 1 - x, height - 1 - y))
    ring = (depth % 2 == rng.integers(2)) * 0.9
    return np.where(rng.random((height, width)) < rng.choice([0.0, 0.05]), 0.9 - ring, ring)


def _flat(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    return np.full((height, width), rng.choice([0.0, 0.5, 0.9, 1.0]))


def _dirty(rng: Rng, height: int, width: int) -> NDArray[np.float64]:
    """Mix NaN, infinities and values out of 0..1 with valid values."""
    values = [np.nan, np.inf, -np.inf, -0.5, 1.5, 0.0, 0.5, 1.0]
    return rng.choice(values, (height, width))


_MAPS: tuple[Callable[[Rng, int, int], NDArray[np.float64]], ...] = (
    _noise, _coarse_noise, _checkerboard, _blobs, _rings, _flat, _dirty,
)  # fmt: skip
