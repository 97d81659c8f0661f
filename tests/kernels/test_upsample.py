import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.kernels.upsample import add_along, interpolate_down, pad_inner, reaches
from qlumen.realtime.segmentation.geometry import Fit, Geometry

from support import naive
from support.strategies import geometries, probability_maps


def upsample(probability: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float64]:
    """Interpolate the whole frame by the kernels; a sum over one pixel is its value."""
    padded, _ = pad_map(probability, geometry)
    rows, columns = geometry.rows(), geometry.columns()
    frame = np.empty((geometry.frame_h, geometry.frame_w))
    row = np.empty(geometry.inner_w + 2, np.float32)
    for y in range(geometry.frame_h):
        interpolate_down(padded, rows.cell[y], rows.weight[y], 0, geometry.inner_w + 1, row)
        for x in range(geometry.frame_w):
            cell = columns.cell[x]
            frame[y, x] = add_along(row, columns.start, columns.weight, cell, x, x + 1, 0.0)
    return frame


def pad_map(
    probability: NDArray[np.float32], geometry: Geometry
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    padded = np.empty((geometry.inner_h + 2, geometry.inner_w + 2), np.float32)
    extent = np.empty((geometry.inner_h + 2, 2), np.int32)
    left, top, _, _ = geometry.inner
    pad_inner(probability, left, top, np.float32(0.5), padded, extent)
    return padded, extent


@settings(max_examples=100)
@given(st.data(), geometries())
def test_every_pixel_is_the_oracles(data: st.DataObject, geometry: Geometry) -> None:
    """Interpolated values equal the oracle's to the last bit."""
    probability = data.draw(probability_maps(geometry.network_w, geometry.network_h))
    np.testing.assert_array_equal(
        upsample(probability, geometry), naive.interpolate(probability, geometry)
    )


@pytest.mark.parametrize("size", [(47, 31), (9, 7), (5, 90), (1, 1)])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_interpolation_is_opencvs(size: tuple[int, int], fit: Fit) -> None:
    """Larger, equal, thin and tiny frames agree with `cv2.resize(INTER_LINEAR)`."""
    probability = np.random.default_rng(5).random((12, 10), np.float32)
    geometry = Geometry.of(size, (10, 12), fit)
    x0, y0, x1, y1 = geometry.inner
    inner = np.ascontiguousarray(probability[y0:y1, x0:x1])
    expected = cv2.resize(inner, size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(upsample(probability, geometry), expected, atol=1e-5)


@settings(max_examples=100)
@given(st.data(), geometries())
def test_padding_cleans_and_finds_extents(data: st.DataObject, geometry: Geometry) -> None:
    """The edge is repeated, values are clean, and extents enclose exactly those at least `low`."""
    probability = data.draw(probability_maps(geometry.network_w, geometry.network_h))
    padded, extent = pad_map(probability, geometry)
    x0, y0, x1, y1 = geometry.inner
    clean = np.clip(np.nan_to_num(probability[y0:y1, x0:x1], nan=0), 0, 1)
    np.testing.assert_array_equal(padded, np.pad(clean, 1, mode="edge"))
    assert reaches(probability, *geometry.inner, np.float32(0.75)) == (clean.max() >= 0.75)
    for (first, last), row in zip(extent[1:-1], clean, strict=True):
        columns = np.flatnonzero(row >= 0.5) + 1
        assert first > last if columns.size == 0 else (first, last) == (columns[0], columns[-1])


@given(st.integers(0, 2**16), st.floats(0, 1, width=32))
def test_interpolation_leaves_the_range_by_two_roundings_at_most(seed: int, weight: float) -> None:
    """Near-equal float32 values overshoot by less than 2.4e-7, the basis of `ROUNDING_SLACK`."""
    rng = np.random.default_rng(seed)
    a = rng.random(1000, np.float32)
    b = np.where(rng.random(1000) < 0.5, np.nextafter(a, np.float32(2)), rng.random(1000))
    b = b.astype(np.float32)
    value = a + np.float32(weight) * (b - a)
    assert np.all(value <= np.maximum(a, b) + 1.2e-7)
    assert np.all(value >= np.minimum(a, b) - 1.2e-7)
