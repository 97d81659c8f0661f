"""Tests the calibration error with a slow count, worked cases and true probabilities."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.evaluation.reliability import (
    MARGIN_SHARE,
    lesion_region,
    reliability,
    truth_at,
)
from qlumen.realtime.segmentation.geometry import Geometry

from support.strategies import geometries, probability_maps

Sample = tuple[NDArray[np.float32], NDArray[np.uint8]]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Draw a map of any kind, also with invalid values, and a true mask."""
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    truth = draw(probability_maps(width, height)) >= 0.5
    return draw(probability_maps(width, height)), truth.astype(np.uint8)


def naive_region(
    probability: NDArray[np.float32], truth: NDArray[np.uint8]
) -> set[tuple[int, int]]:
    height, width = truth.shape
    chosen = [
        (y, x)
        for y in range(height)
        for x in range(width)
        if truth[y, x] or probability[y, x] >= 0.5
    ]
    if not chosen:
        return set()
    margin = math.floor(MARGIN_SHARE * max(height, width) + 0.5)
    rows, columns = [y for y, _ in chosen], [x for _, x in chosen]
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        if min(rows) - margin <= y <= max(rows) + margin
        and min(columns) - margin <= x <= max(columns) + margin
    }


def naive_error(rows: Sequence[Sample], bins: int) -> float | None:
    """Compute the error by its definition, pixel by pixel."""
    weight, confidence, hit = [0.0] * bins, [0.0] * bins, [0.0] * bins
    images = 0
    for probability, truth in rows:
        region = naive_region(probability, truth)
        images += bool(region)
        for y, x in region:
            value = float(probability[y, x])
            value = 0.0 if math.isnan(value) else min(1.0, max(0.0, value))
            number = min(int(value * bins), bins - 1)
            weight[number] += 1 / len(region)
            confidence[number] += value / len(region)
            hit[number] += int(truth[y, x]) / len(region)
    if not images:
        return None
    return sum(abs(c - h) for c, h in zip(confidence, hit, strict=True)) / images


@given(st.lists(samples(), min_size=1, max_size=4), st.integers(1, 20))
def test_error_is_that_of_the_definition(rows: list[Sample], bins: int) -> None:
    """The result equals that of a loop over pixels, on valid and invalid maps."""
    wanted = naive_error(rows, bins)
    if wanted is None:
        with pytest.raises(ValueError, match="no image has a lesion"):
            reliability(rows, bins)
        return
    got = reliability(rows, bins)
    assert got.error == pytest.approx(wanted, abs=1e-9)
    assert got.weight.sum() == pytest.approx(1)
    assert 0 <= got.error <= 1


@given(samples())
def test_region_covers_mask_and_prediction(sample: Sample) -> None:
    """The box is the one that a pixel-by-pixel search finds."""
    box = lesion_region(*sample)
    wanted = naive_region(*sample)
    if box is None:
        assert not wanted
        return
    x0, y0, x1, y1 = box
    assert {(y, x) for y in range(y0, y1) for x in range(x0, x1)} == wanted


def test_worked_case() -> None:
    """Two images in one right and one half-right bin give |0.95-1|/2 + |0.65-0.5|/2 = 0.1."""
    sure = (np.full((1, 4), 0.95, np.float32), np.ones((1, 4), np.uint8))
    unsure = (np.full((1, 2), 0.65, np.float32), np.array([[1, 0]], np.uint8))
    got = reliability([sure, unsure], bins=10)
    assert got.error == pytest.approx(0.1)
    rows = got.record()["bins"]
    assert [(round(r["from"], 6), r["weight"]) for r in rows] == [(0.6, 0.5), (0.9, 0.5)]
    assert [round(r["lesion"], 6) for r in rows] == [0.5, 1.0]


def test_true_probabilities_have_no_error() -> None:
    """Lesion pixels drawn with the stated probability leave only a random error. Sharpened
    probabilities leave a larger error."""
    rng = np.random.default_rng(0)
    probability = rng.random((500, 500), np.float32)
    truth = (rng.random((500, 500)) < probability).astype(np.uint8)
    sharpened = (probability**3 / (probability**3 + (1 - probability) ** 3)).astype(np.float32)
    assert reliability([(probability, truth)]).error < 0.01
    assert reliability([(sharpened, truth)]).error > 0.1


def test_far_background_does_not_count() -> None:
    """Background beyond the margin changes nothing, except where the prediction is wrong."""
    probability = np.zeros((100, 100), np.float32)
    probability[40:60, 40:60] = 0.7
    truth = np.zeros((100, 100), np.uint8)
    truth[45:60, 45:60] = 1
    assert lesion_region(probability, truth) == (30, 30, 70, 70)
    wanted = abs(0.7 - 225 / 400) * 400 / 1600
    assert reliability([(probability, truth)]).error == pytest.approx(wanted)
    probability[95, 95] = 0.6
    assert lesion_region(probability, truth) == (30, 30, 100, 100)


def test_sizes_must_agree() -> None:
    """A map of another size than the mask raises an error with both sizes."""
    with pytest.raises(ValueError, match=r"\(2, 3\) and truth \(3, 2\)"):
        reliability([(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))])


@given(geometries(), st.integers(0, 2**16))
def test_truth_lies_where_the_map_shows_it(geometry: Geometry, seed: int) -> None:
    """Each map pixel has the mask's value at its centre, and the letterbox's bars have 0."""
    truth = np.random.default_rng(seed).integers(
        0, 2, (geometry.frame_h, geometry.frame_w), np.uint8
    )
    got = truth_at((geometry.network_w, geometry.network_h), truth, geometry)
    x0, y0, x1, y1 = geometry.inner
    for y in range(geometry.network_h):
        for x in range(geometry.network_w):
            if not (x0 <= x < x1 and y0 <= y < y1):
                assert got[y, x] == 0
                continue
            row = math.floor((y - y0 + 0.5) * geometry.frame_h / geometry.inner_h)
            column = math.floor((x - x0 + 0.5) * geometry.frame_w / geometry.inner_w)
            assert got[y, x] == truth[row, column]
