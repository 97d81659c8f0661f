"""Checks fitted curves: slopes against worked cases, and that none ever crosses another."""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.annotation.fit import (
    Curve,
    data_slope,
    find_crossing,
    fit,
    measure_gaps,
)

SIZE = 96
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    return (COLUMNS - x) ** 2 + (ROWS - y) ** 2 <= radius**2


def paint(region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(region[..., None], (70, 80, 190), (120, 140, 170)).astype(np.uint8)


def predict(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(region, 0.9, 0.1).astype(np.float32)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def turn(a: Curve, b: Curve, c: Curve) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def cross(curves: Sequence[Curve]) -> bool:
    """Check all pairs of edges one by one, the slow way."""
    edges = [(i, k, c[k], c[(k + 1) % len(c)]) for i, c in enumerate(curves) for k in range(len(c))]
    for (i, k, a, b), (j, m, c, d) in combinations(edges, 2):
        shared = i == j and abs(k - m) in (0, 1, len(curves[i]) - 1)
        if not shared and turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0:
            return True
    return False


def disc_energy(x: float, radius: float) -> float:
    """Return V_in + V_out of f = x for a disc in the square [-2, 2]^2, exactly."""
    area_in, whole = np.pi * radius**2, 16.0
    area_out = whole - area_in
    in_square = area_in * (radius**2 / 4 + x**2)
    out_mean = -area_in * x / area_out
    return float(radius**2 / 4 + (64 / 3 - in_square) / area_out - out_mean**2)


def test_slope_is_the_change_of_the_energy_of_a_disc() -> None:
    """SEEDS 13 d: f = x, radius 0.8 at 0.3: dE/dr = 0.7771 and dE/dx = -0.09863."""
    x, radius, step = 0.3, 0.8, 1e-4
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    at = (x + radius * np.cos(angles))[:, None]
    area_in = np.pi * radius**2
    area_out = 16 - area_in
    out_mean = -area_in * x / area_out
    out_var = (64 / 3 - area_in * (radius**2 / 4 + x**2)) / area_out - out_mean**2
    inside = area_in, np.array([x]), np.array([radius**2 / 4])
    slope = data_slope(at, inside, (area_out, np.array([out_mean]), np.array([out_var])))
    grow = float(slope.mean() * 2 * np.pi * radius)
    move = float((slope * np.cos(angles)).mean() * 2 * np.pi * radius)
    assert grow == pytest.approx(0.7771, abs=1e-4)
    assert move == pytest.approx(-0.09863, abs=1e-5)
    wider = disc_energy(x, radius + step) - disc_energy(x, radius - step)
    shifted = disc_energy(x + step, radius) - disc_energy(x - step, radius)
    assert grow == pytest.approx(wider / (2 * step), abs=1e-5)
    assert move == pytest.approx(shifted / (2 * step), abs=1e-5)


def test_slope_of_the_true_disc_of_two_values_is_zero() -> None:
    """SEEDS 13 d: on the border the slope lies between that of both sides, which pull together."""
    none = np.zeros(1)
    inside, outside = (100.0, np.ones(1), none), (400.0, none, none)
    within, beyond = data_slope(np.array([[1.0], [0.0]]), inside, outside)
    assert within < 0 < beyond
    truth = disc(48, 48, 20)
    found = fit(truth.astype(np.uint8), paint(truth), predict(truth))
    assert dice(found > 0, truth) > 0.97


def test_gaps_of_two_squares() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    beside, below = square + np.array([13, 0]), square + np.array([13, 8])
    np.testing.assert_allclose(measure_gaps([square, beside]), [3] * 8)
    np.testing.assert_allclose(measure_gaps([square, below])[:3], [np.hypot(3, 8), 3, 3])
    assert not find_crossing([square, beside])
    assert find_crossing([square, square + 5])
    assert find_crossing([square[[0, 2, 1, 3]]])


def test_rough_outline_comes_nearer_to_the_border() -> None:
    truth, rough = disc(48, 48, 20), disc(52, 45, 17)
    found = fit(rough.astype(np.uint8), paint(truth), predict(truth))
    assert dice(found > 0, truth) > 0.95 > dice(rough, truth)


def test_two_touching_polyps_of_one_colour_stay_two() -> None:
    truth = np.where(disc(30, 48, 16), 1, np.where(disc(63, 48, 17), 2, 0)).astype(np.uint8)
    found = fit(truth, paint(truth > 0), predict(truth > 0))
    for number in (1, 2):
        own = (found == number).astype(np.uint8)
        assert cv2.connectedComponents(own)[0] == 2
        assert dice(own > 0, truth == number) > 0.9


def test_empty_thin_and_whole_lesions_stay() -> None:
    image, seen = paint(disc(48, 48, 20)), predict(disc(48, 48, 20))
    assert not fit(np.zeros((SIZE, SIZE), np.uint8), image, seen).any()
    for thin in (np.s_[48, 20:70], np.s_[0, 0], np.s_[20:70:3, 20:70:3]):
        lesions = np.zeros((SIZE, SIZE), np.uint8)
        lesions[thin] = 7
        np.testing.assert_array_equal(fit(lesions, image, seen) > 0, lesions > 0)
    assert fit(np.ones((SIZE, SIZE), np.uint8), image, seen).any()


@st.composite
def starts(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Make discs, rings, bars and combs of up to five numbers over each other."""
    lesions = np.zeros((SIZE, SIZE), np.uint8)
    place = st.integers(0, SIZE - 1)
    for _ in range(draw(st.integers(1, 7))):
        number, x, y = draw(st.integers(0, 5)), draw(place), draw(place)
        kind, side = (
            draw(st.sampled_from(["disc", "ring", "bar", "comb"])),
            draw(st.integers(1, 30)),
        )
        if kind in ("disc", "ring"):
            cv2.circle(lesions, (x, y), side, number, -1 if kind == "disc" else 2)
        elif kind == "bar":
            cv2.line(lesions, (x, y), (draw(place), draw(place)), number, draw(st.integers(1, 9)))
        else:
            for shift in range(0, side, 4):
                cv2.line(lesions, (x + shift, y), (x + shift, y + side), number, 1)
    return lesions


@settings(max_examples=25, deadline=None)
@given(starts(), st.integers(0, 2**32 - 1))
def test_no_step_crosses_or_loses_a_curve(lesions: NDArray[np.uint8], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (SIZE, SIZE))
    probability = cv2.resize(rng.random((9, 9), np.float32), (SIZE, SIZE))
    seen: list[int] = []

    def check(curves: Sequence[Curve]) -> None:
        seen.append(len(curves))
        if len(seen) % 20 == 1:  # the slow check of some, the quick one of all
            assert not cross(curves)
        assert not find_crossing(curves)

    found = fit(lesions, image, probability, check)
    assert len(set(seen)) <= 1
    assert set(np.unique(found)) == set(np.unique(lesions)) | {0}
