import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.kernels.findings import paint, sum_probability
from qlumen.realtime.segmentation.geometry import Geometry

from support import naive
from support.strategies import masks, probability_maps


@settings(deadline=None)
@given(masks())
def test_painting_the_runs_gives_the_mask_back(mask: NDArray[np.uint8]) -> None:
    """Runs cut from a mask and painted on an empty one give the same mask."""
    canvas = np.zeros_like(mask)
    paint(*naive.runs(mask), canvas)
    np.testing.assert_array_equal(canvas, mask)


@settings(deadline=None)
@given(st.data(), masks(), st.integers(0, 2**16))
def test_sums_are_numpys(data: st.DataObject, mask: NDArray[np.uint8], seed: int) -> None:
    """The sum of each number is that of the interpolated values under its runs."""
    geometry = Geometry.of((mask.shape[1], mask.shape[0]), (9, 7), "stretch")
    probability = data.draw(probability_maps(9, 7))
    clean = np.clip(np.nan_to_num(probability, nan=0), 0, 1)
    spans, row_first = naive.runs(mask)
    label = np.random.default_rng(seed).integers(1, 4, len(spans)).astype(np.int32)
    rows, columns = geometry.rows(), geometry.columns()
    total = np.empty(3)
    sum_probability(
        np.pad(clean, 1, mode="edge"), rows.cell, rows.weight,
        columns.cell, columns.weight, columns.start,
        spans, row_first, label, np.empty(11, np.float32), total,
    )  # fmt: skip
    frame, expected = naive.interpolate(probability, geometry), [0.0, 0.0, 0.0]
    for y in range(mask.shape[0]):
        for i in range(row_first[y], row_first[y + 1]):
            expected[label[i] - 1] += frame[y, spans[i, 0] : spans[i, 1]].sum(dtype=np.float64)
    np.testing.assert_allclose(total, expected, rtol=1e-12)
