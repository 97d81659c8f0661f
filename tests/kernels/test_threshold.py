import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.kernels.threshold import ROUNDING_SLACK, max_runs, threshold_runs
from qlumen.kernels.upsample import pad_inner
from qlumen.realtime.segmentation.geometry import Geometry

from support import naive
from support.strategies import geometries, probability_maps, thresholds


def run(
    probability: NDArray[np.float32], geometry: Geometry, low: np.float32, high: np.float32
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    padded = np.empty((geometry.inner_h + 2, geometry.inner_w + 2), np.float32)
    extent = np.empty((geometry.inner_h + 2, 2), np.int32)
    pad_inner(probability, *geometry.inner[:2], low - ROUNDING_SLACK, padded, extent)
    room = max_runs(geometry.frame_w, geometry.frame_h, geometry.inner_w)
    spans, strong = np.empty((room, 2), np.int32), np.empty(room, np.uint8)
    row_first = np.empty(geometry.frame_h + 1, np.int32)
    rows, columns = geometry.rows(), geometry.columns()
    count = threshold_runs(
        padded, extent, rows.cell, rows.weight, columns.start, columns.weight, low, high,
        np.empty(geometry.inner_w + 2, np.float32), spans, strong, row_first,
    )  # fmt: skip
    assert count <= room
    return spans[:count], strong[:count], row_first


@settings(max_examples=300)
@given(st.data(), geometries(), thresholds())
def test_runs_are_those_of_the_whole_frame(
    data: st.DataObject, geometry: Geometry, levels: tuple[float, float]
) -> None:
    """Runs equal those of the interpolated frame; the strong runs are those that reach `high`."""
    low, high = (np.float32(level) for level in levels)
    probability = data.draw(probability_maps(geometry.network_w, geometry.network_h))
    spans, strong, row_first = run(probability, geometry, low, high)
    frame = naive.interpolate(probability, geometry)
    expected, first = naive.runs((frame >= low).astype(np.uint8))
    np.testing.assert_array_equal(spans, expected)
    np.testing.assert_array_equal(row_first, first)
    for y, row in enumerate(frame):
        for i in range(first[y], first[y + 1]):
            assert strong[i] == (row[spans[i, 0] : spans[i, 1]].max() >= high)


@settings(deadline=None)
@given(st.data(), geometries())
def test_thresholds_equal_to_a_value_are_met(data: st.DataObject, geometry: Geometry) -> None:
    """A threshold that equals a pixel's value, to the bit, includes that pixel."""
    probability = data.draw(probability_maps(geometry.network_w, geometry.network_h))
    frame = naive.interpolate(probability, geometry)
    level = frame.ravel()[data.draw(st.integers(0, frame.size - 1))]
    spans, strong, row_first = run(probability, geometry, level, level)
    expected, first = naive.runs((frame >= level).astype(np.uint8))
    np.testing.assert_array_equal(spans, expected)
    np.testing.assert_array_equal(row_first, first)
    assert np.all(strong == 1)
