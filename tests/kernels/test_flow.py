import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.kernels.contours import trace_border
from qlumen.kernels.flow import (
    border_room,
    flow_residual,
    mix_moved,
    move_border,
    reverse_flow,
)

from support import naive, naive_flow
from support.strategies import masks, sizes

SEEDS = st.integers(0, 2**16)
WHOLE = (0.0, 0.0, 1.0, 1.0)
REGIONS = st.sampled_from([WHOLE, (0.25, 0.0, 0.75, 1.0), (0.1, 0.2, 0.7, 0.9)])


def flows(seed: int, width: int, height: int, reach: float = 2.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, reach, (height, width, 2)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(SEEDS, sizes(20))
def test_difference_is_that_of_scipys_warp(seed: int, size: tuple[int, int]) -> None:
    """The residual is linear between pixels, and uses the edge's value beyond the edge."""
    earlier, later = np.random.default_rng(seed).integers(0, 256, (2, *size[::-1]), np.uint8)
    flow = flows(seed, *size)
    places = np.mgrid[: size[1], : size[0]] + flow.transpose(2, 0, 1)[::-1]
    warped = ndimage.map_coordinates(later.astype(float), places, order=1, mode="nearest")
    expected = np.abs(warped - earlier).mean()
    assert flow_residual(earlier, later, flow) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(masks(), SEEDS, sizes(8), st.integers(1, 5))
def test_borders_move_like_the_oracles(
    mask: NDArray[np.uint8], seed: int, small: tuple[int, int], step: int
) -> None:
    """The oracle gives the same points in the same order."""
    mask = naive.fill_holes(mask)
    flow = flows(seed, *small)
    for blob in naive.components(mask):
        points = np.empty((4096, 2), np.int32)
        contour = points[: trace_border(mask, blob[0][1], blob[0][0], points)]
        moved = np.empty((border_room(contour, step), 2), np.int32)
        height, width = mask.shape
        assert move_border(contour, flow, width, height, step, moved) == len(moved)
        expected = naive_flow.move_border(contour, flow, width, height, step)
        np.testing.assert_array_equal(moved, expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, sizes(12), st.integers(1, 4))
def test_reversing_follows_the_fixed_point(seed: int, size: tuple[int, int], rounds: int) -> None:
    """The result equals the oracle's iteration within single precision."""
    flow = flows(seed, *size)
    back = np.empty_like(flow)
    reverse_flow(flow, rounds, back)
    np.testing.assert_allclose(back, naive_flow.reverse_flow(flow, rounds), atol=1e-3)


def test_reversing_a_zoom_gives_its_inverse() -> None:
    """The way back of x -> 1.1 x is x -> x / 1.1, within a hundredth of a pixel."""
    y, x = np.mgrid[:20, :30].astype(np.float64)
    flow = np.stack([0.1 * (x - 15), 0.1 * (y - 10)], axis=-1).astype(np.float32)
    back = np.empty_like(flow)
    reverse_flow(flow, 8, back)
    expected = np.stack([(x - 15) / 1.1 - (x - 15), (y - 10) / 1.1 - (y - 10)], axis=-1)
    np.testing.assert_allclose(back, expected, atol=0.01)


@settings(max_examples=80, deadline=None)
@given(SEEDS, sizes(20), sizes(8), st.floats(0, 1), REGIONS, REGIONS)
def test_mixing_is_the_oracles(
    seed: int,
    size: tuple[int, int],
    small: tuple[int, int],
    weight: float,
    past_region: tuple[float, ...],
    region: tuple[float, ...],
) -> None:
    """The mix equals the oracle's for any motion and any two regions, in single precision."""
    rng = np.random.default_rng(seed)
    past, now = rng.random((2, *size), np.float32)
    back = flows(seed, *small)
    mixed = np.empty_like(now)
    mix_moved(past, np.array(past_region), now, np.array(region), back, weight, mixed)
    expected = naive_flow.mix_moved(past, past_region, now, region, back, weight)
    np.testing.assert_allclose(mixed, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("dx", "expected"), [(0.0, [0, 8, 0, 0]), (1.0, [8, 0, 0, 5]), (-1.0, [5, 0, 8, 0])]
)
def test_mixing_takes_each_pixel_from_where_it_was(dx: float, expected: list[int]) -> None:
    """A lit column moves by one, and the column that came in keeps its value, as by hand."""
    past = np.array([[0, 8, 0, 0]], np.float32)
    now = np.full((1, 4), 5, np.float32)
    back = np.zeros((1, 4, 2), np.float32)
    back[..., 0] = dx
    mixed = np.empty_like(now)
    mix_moved(past, np.array(WHOLE), now, np.array(WHOLE), back, 1.0, mixed)
    assert mixed.tolist() == [expected]
