import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.errors import ConfigError, EngineError
from qlumen.realtime.frames import Segmentation
from qlumen.realtime.segmentation.geometry import Fit, Geometry
from qlumen.realtime.segmentation.postprocess import CONTOUR_POINTS, MAX_FINDINGS, Postprocessor

from support import naive
from support.strategies import geometries, probability_maps, thresholds

TESTS = Path(__file__).parents[2]
FULL_HD = Geometry.of((1920, 1080), (352, 352), "stretch")


def compare_with_oracle(
    probability: NDArray[np.float32], geometry: Geometry, low: float, high: float, fraction: float
) -> None:
    post = Postprocessor(low=low, high=high, min_area_fraction=fraction)
    result = post(probability, geometry)
    mask, findings = naive.segment(probability, geometry, low, high, fraction, MAX_FINDINGS)
    np.testing.assert_array_equal(result.mask, mask)
    ours = [(found.box, found.score, found.area_px) for found in result.findings]
    assert ours == [(found.box, found.score, found.area_px) for found in findings]


def external_contours(mask: NDArray[np.uint8]) -> list[list[list[int]]]:
    """Return OpenCV's contours, which run the other way round from the same first pixel."""
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = [contour.reshape(-1, 2).tolist() for contour in found]
    return sorted([contour[0], *contour[:0:-1]] for contour in points)


def fill(result: Segmentation) -> NDArray[np.uint8]:
    canvas = np.zeros_like(result.mask)
    for finding in result.findings:
        cv2.drawContours(canvas, [finding.contour], -1, 1, cv2.FILLED)
    return canvas


def disc(x: float, y: float, radius: float, size: int = 352) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(columns - x, rows - y)
    return (1 / (1 + np.exp(np.clip((distance - radius) / 2, -50, 50)))).astype(np.float32)


@settings(max_examples=300)
@given(st.data(), geometries(), thresholds(), st.sampled_from((0.0, 0.01, 0.1)))
def test_result_is_the_oracles_bit_by_bit(
    data: st.DataObject, geometry: Geometry, levels: tuple[float, float], fraction: float
) -> None:
    """Mask, boxes, areas and scores equal those of the plain definition on the whole frame."""
    shape = geometry.network_w, geometry.network_h
    compare_with_oracle(data.draw(probability_maps(*shape)), geometry, *levels, fraction)


@settings(max_examples=200)
@given(st.data(), geometries(), thresholds())
def test_contours_are_opencvs_and_fill_to_the_mask(
    data: st.DataObject, geometry: Geometry, levels: tuple[float, float]
) -> None:
    """Each contour equals OpenCV's external one, and filling them all gives the mask back."""
    probability = data.draw(probability_maps(geometry.network_w, geometry.network_h))
    post = Postprocessor(low=levels[0], high=levels[1], min_area_fraction=0)
    result = post(probability, geometry)
    np.testing.assert_array_equal(fill(result), result.mask)
    ours = sorted(finding.contour.tolist() for finding in result.findings)
    assert ours == external_contours(result.mask)


@settings(max_examples=50)
@given(st.lists(st.tuples(geometries(), st.integers(0, 99)), min_size=2, max_size=4))
def test_earlier_frames_leave_no_trace(frames: list[tuple[Geometry, int]]) -> None:
    """One post-processor on frames of different sizes gives the same result as a new one."""
    used = Postprocessor(low=0.5, high=0.75, min_area_fraction=0)
    for geometry, seed in frames:
        shape = geometry.network_h, geometry.network_w
        probability = np.random.default_rng(seed).random(shape, np.float32)
        fresh = Postprocessor(low=0.5, high=0.75, min_area_fraction=0)
        first, second = used(probability, geometry), fresh(probability, geometry)
        np.testing.assert_array_equal(first.mask, second.mask)
        assert [f.score for f in first.findings] == [f.score for f in second.findings]


def test_masks_that_are_kept_stay_and_dropped_ones_are_cleared() -> None:
    """Frame after frame of one size, each mask is that of its own map."""
    post = Postprocessor(low=0.5, high=0.5, min_area_fraction=0)
    geometry = Geometry.of((8, 8), (8, 8), "stretch")
    maps = [np.zeros((8, 8), np.float32) for _ in range(8)]
    for row, probability in enumerate(maps):
        probability[row] = 1
    kept = [post(probability, geometry) for probability in maps[:3]]
    for probability in maps[3:]:  # the one before last has been dropped by then
        kept[-1] = post(probability, geometry)
        np.testing.assert_array_equal(kept[-1].mask, probability)
    for probability, result in zip(maps[:2], kept, strict=False):
        np.testing.assert_array_equal(result.mask, probability)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_full_hd_noise_agrees_with_scipy(fit: Fit) -> None:
    """On a whole noisy frame the mask is that of SciPy's labels, hysteresis and hole filling."""
    geometry = Geometry.of((1920, 1080), (352, 352), fit)
    coarse = np.random.default_rng(3).random((30, 30), np.float32)
    probability = cv2.resize(coarse, (352, 352), interpolation=cv2.INTER_LINEAR)
    result = Postprocessor(low=0.7, high=0.9, min_area_fraction=2e-3)(probability, geometry)
    frame = naive.interpolate(probability, geometry)
    labels, _ = ndimage.label(frame >= np.float32(0.7), np.ones((3, 3)))
    strong = np.isin(labels, np.unique(labels[frame >= np.float32(0.9)]))
    labels, count = ndimage.label(ndimage.binary_fill_holes(strong), np.ones((3, 3)))
    areas = np.bincount(labels.ravel())[1:]
    kept = np.flatnonzero(areas >= 2e-3 * frame.size) + 1
    assert 10 < len(kept) < count
    assert len(kept) <= MAX_FINDINGS
    np.testing.assert_array_equal(result.mask, np.isin(labels, kept))
    means = ndimage.mean(frame.astype(np.float64), labels, kept)
    assert sorted(f.score for f in result.findings) == pytest.approx(sorted(means), abs=1e-12)


def test_one_pixel_frame() -> None:
    """A 1x1 frame holds a finding of one pixel with a contour of one point."""
    geometry = Geometry.of((1, 1), (32, 32), "letterbox")
    post = Postprocessor(low=0.4, high=0.6, min_area_fraction=0.5)
    (finding,) = post(np.full((32, 32), 0.75, np.float32), geometry).findings
    assert (finding.box, finding.area_px, finding.score) == ((0, 0, 1, 1), 1, 0.75)
    assert finding.contour.tolist() == [[0, 0]]


def test_whole_frame() -> None:
    """A map of ones gives one finding with the frame's four corners, clockwise."""
    post = Postprocessor(low=0.4, high=0.6, min_area_fraction=0.9)
    (finding,) = post(np.ones((352, 352), np.float32), FULL_HD).findings
    assert (finding.box, finding.area_px) == ((0, 0, 1920, 1080), 1920 * 1080)
    assert finding.contour.tolist() == [[0, 0], [1919, 0], [1919, 1079], [0, 1079]]
    assert finding.score == 1


def test_8k_frame() -> None:
    """A disc in an 8K frame has the area and the box of the scaled disc."""
    geometry = Geometry.of((7680, 4320), (352, 352), "letterbox")
    post = Postprocessor(low=0.5, high=0.9, min_area_fraction=0)
    (finding,) = post(disc(176, 176, 40), geometry).findings
    scale = 7680 / 352
    assert finding.area_px == pytest.approx(np.pi * (40 * scale) ** 2, rel=0.01)
    assert finding.box[2] - finding.box[0] == pytest.approx(80 * scale, abs=scale)


def test_island_in_a_hole_is_absorbed() -> None:
    """A blob inside a ring belongs to the ring's filled finding."""
    probability = disc(60, 60, 50, 120) - disc(60, 60, 35, 120) + disc(60, 60, 10, 120)
    geometry = Geometry.of((120, 120), (120, 120), "stretch")
    (finding,) = Postprocessor(low=0.5, high=0.7, min_area_fraction=0)(
        probability, geometry
    ).findings
    assert finding.area_px == pytest.approx(np.pi * 50**2, rel=0.02)
    assert finding.score < 0.8


def test_more_findings_than_the_limit_keeps_the_largest() -> None:
    """Of 100 squares of sizes 1 to 10 the 64 largest are kept, larger ones first."""
    probability = np.zeros((120, 120), np.float32)
    for index in range(100):
        x, y, side = index % 10 * 12, index // 10 * 12, index % 10 + 1
        probability[y : y + side, x : x + side] = 1
    geometry = Geometry.of((120, 120), (120, 120), "stretch")
    result = Postprocessor(low=0.5, high=0.5, min_area_fraction=0)(probability, geometry)
    sides = [10] * 10 + [9] * 10 + [8] * 10 + [7] * 10 + [6] * 10 + [5] * 10 + [4] * 4
    assert [finding.area_px for finding in result.findings] == [side**2 for side in sides]
    assert [finding.box[1] for finding in result.findings[:10]] == list(range(0, 120, 12))
    assert result.mask.sum() == sum(side**2 for side in sides)


def test_ties_are_ordered_by_top_then_left() -> None:
    """Equal areas are ordered from the top, and side by side from the left."""
    probability = np.zeros((8, 8), np.float32)
    probability[4, 0] = probability[2, 6] = probability[2, 1] = 1
    geometry = Geometry.of((8, 8), (8, 8), "stretch")
    result = Postprocessor(low=0.5, high=0.5, min_area_fraction=0)(probability, geometry)
    assert [finding.box[:2] for finding in result.findings] == [(1, 2), (6, 2), (0, 4)]


def test_least_area_given_as_a_decimal_share_is_met_exactly() -> None:
    """7 pixels of 100 meet a share of 0.07, although 0.07 * 100 is above 7 in floating point."""
    probability = np.zeros((10, 10), np.float32)
    probability[4, 1:8] = 1
    geometry = Geometry.of((10, 10), (10, 10), "stretch")
    result = Postprocessor(low=0.5, high=0.5, min_area_fraction=0.07)(probability, geometry)
    assert [finding.area_px for finding in result.findings] == [7]


def test_long_contour_is_whole() -> None:
    """A comb with more corners than the room kept for a contour is traced in full."""
    probability = np.zeros((5, 4000), np.float32)
    probability[0], probability[:, ::2] = 1, 1
    geometry = Geometry.of((4000, 5), (4000, 5), "stretch")
    result = Postprocessor(low=0.5, high=0.9, min_area_fraction=0)(probability, geometry)
    assert len(result.findings[0].contour) > CONTOUR_POINTS
    np.testing.assert_array_equal(fill(result), result.mask)


def test_kernels_agree_without_the_compiler() -> None:
    """The same kernels as plain Python give the oracle's result."""
    code = (
        "import numpy as np; from realtime.segmentation.test_postprocess import *\n"
        "for seed, fit in ((1, 'stretch'), (2, 'letterbox')):\n"
        "    geometry = Geometry.of((23, 17), (9, 8), fit)\n"
        "    probability = np.random.default_rng(seed).random((8, 9), np.float32)\n"
        "    compare_with_oracle(probability, geometry, 0.5, 0.7, 0.01)\n"
    )
    plain = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(TESTS)}
    subprocess.run([sys.executable, "-c", code], env=plain, check=True, cwd=TESTS)


@pytest.mark.parametrize(
    ("low", "high", "fraction"),
    [
        (0, 0.5, 0),
        (0.6, 0.5, 0),
        (0.5, 1, 0),
        (float("nan"), 0.5, 0),
        (0.4, 0.5, 1),
        (0.4, 0.5, -1),
    ],
)
def test_settings_out_of_bounds_are_refused(low: float, high: float, fraction: float) -> None:
    """Bad thresholds raise before any frame is seen."""
    with pytest.raises(ConfigError, match=r"need 0 < low|share of the frame"):
        Postprocessor(low=low, high=high, min_area_fraction=fraction)


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((352, 320), np.float32), "needs .352, 352. float32"),
        (np.zeros((352, 352)), "float64"),
        (np.zeros((352, 352), np.float32).T, None),
        (np.zeros((352, 704), np.float32)[:, ::2], "not C-contiguous"),
    ],
)
def test_maps_of_another_kind_are_refused(
    probability: NDArray[np.float32], message: str | None
) -> None:
    """Size, type and layout are checked, and the message says what is needed."""
    post = Postprocessor(low=0.4, high=0.5, min_area_fraction=0)
    with pytest.raises(EngineError, match=message or "not C-contiguous"):
        post(probability, FULL_HD)
