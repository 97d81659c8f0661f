"""Checks the minimum cut against all cuts, and that outlines move to the borders of an image."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import maximum_flow

from qlumen.realtime.annotation import snap as subject
from qlumen.realtime.annotation.snap import BAND_PX, cut, make_graph, snap

SIZE = 120
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    return (COLUMNS - x) ** 2 + (ROWS - y) ** 2 <= radius**2


def paint(region: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    """Return an image where the region is redder, with noise."""
    noise = np.random.default_rng(seed).integers(-6, 7, (SIZE, SIZE, 3))
    clean = np.where(region[..., None], (70, 80, 190), (120, 140, 170))
    return (clean + noise).astype(np.uint8)


def sum_cut(graph: NDArray[np.int32], side: NDArray[np.bool_]) -> int:
    return int(graph[side][:, ~side].sum())


@pytest.mark.parametrize("seed", range(20))
def test_cut_is_the_best_of_all_512_of_a_square_of_9_pixels(seed: int) -> None:
    """SEEDS 16 d."""
    rng = np.random.default_rng(seed)
    inside, outside = np.zeros((2, 3, 3), bool)
    inside.flat[rng.integers(9)] = True
    outside.flat[rng.choice(np.flatnonzero(~inside))] = True
    colours = rng.normal(0, 20, (3, 3, 3)).astype(np.float32)
    lean = rng.normal(0, 1, (3, 3)).astype(np.float32)
    graph = make_graph(inside, outside, colours, lean)
    values = {}
    for labels in product((False, True), repeat=9):
        side = np.array([*labels, True, False])
        values[labels] = sum_cut(graph.toarray(), side)
    found = tuple(cut(inside, outside, colours, lean).ravel().tolist())
    assert values[found] == min(values.values()) == maximum_flow(graph, 9, 10).flow_value


def test_rough_outline_moves_to_the_border_of_the_disc() -> None:
    truth = disc(60, 60, 25)
    probability = np.where(truth, 0.9, 0.1).astype(np.float32)
    for rough, odds in ((disc(61.5, 59, 24), None), (disc(63, 58, 22), probability)):
        found = snap(rough.astype(np.uint8), paint(truth), odds)
        assert np.count_nonzero((found > 0) != truth) < 0.1 * np.count_nonzero(rough != truth)


def test_network_decides_where_the_image_shows_nothing() -> None:
    truth, rough = disc(60, 60, 25), disc(60, 60, 22).astype(np.uint8)
    flat = np.full((SIZE, SIZE, 3), 128, np.uint8)
    found = snap(rough, flat, np.where(truth, 0.99, 0.01).astype(np.float32))
    assert np.count_nonzero((found > 0) != truth) < 0.2 * np.count_nonzero(truth != rough)


def test_nothing_leaves_the_band_and_lesions_keep_apart() -> None:
    left, right = disc(40, 60, 18), disc(78, 60, 19)
    lesions = np.where(left, 3, np.where(right, 200, 0)).astype(np.uint8)
    found = snap(lesions, paint(disc(40, 60, 50)), None)
    assert set(np.unique(found)) == {0, 3, 200}
    assert not (found[right] == 3).any()
    assert not (found[left] == 200).any()
    for number, region, (x, y, radius) in ((3, left, (40, 60, 18)), (200, right, (78, 60, 19))):
        own = found == number
        assert own[region & disc(x, y, radius - BAND_PX - 1)].all()
        assert not own[~disc(x, y, radius + BAND_PX + 1)].any()


def test_thin_small_whole_and_empty_lesions_stay() -> None:
    image = paint(disc(60, 60, 25))
    assert not snap(np.zeros((SIZE, SIZE), np.uint8), image).any()
    assert snap(np.ones((SIZE, SIZE), np.uint8), image).all()
    for thin in (np.s_[60, 20:90], np.s_[60, 60], np.s_[0, 0]):
        lesions = np.zeros((SIZE, SIZE), np.uint8)
        lesions[thin] = 1
        assert snap(lesions, image).any()


def test_large_image_is_cut_at_a_smaller_size_and_lesions_still_keep_apart() -> None:
    factor = 20
    truth = np.where(disc(40, 60, 18), 1, np.where(disc(78, 60, 19), 2, 0)).astype(np.uint8)
    large = [np.repeat(np.repeat(one, factor, 0), factor, 1) for one in (truth, paint(truth > 0))]
    found = snap(large[0], large[1], None)
    assert np.count_nonzero(found != large[0]) < 0.04 * np.count_nonzero(large[0])


def test_line_of_a_pixel_in_a_large_image_stays() -> None:
    lesions = np.zeros((1080, 1920), np.uint8)
    lesions[500, 600:601] = 9
    found = snap(lesions, np.full((1080, 1920, 3), 128, np.uint8))
    assert (found == 9).any()


def test_lesions_given_are_not_changed() -> None:
    lesions = disc(63, 58, 22).astype(np.uint8)
    before = lesions.copy()
    snap(lesions, paint(disc(60, 60, 25)))
    np.testing.assert_array_equal(lesions, before)
    assert subject.SURE > 8 * subject.SCALE
