"""Labels by likeness and the repair of unsure frames: numbers of SEEDS 3 d, and worked cases."""

import numpy as np
import pytest
from scipy.stats import entropy

from qlumen.errors import DatasetError
from qlumen.training.adaptation.prototypes import (
    CELL_SIDE,
    Floats,
    are_unsure,
    fit_prototypes,
    mean_entropy,
    reduce_masks,
    repair,
    spread_cells,
)
from qlumen.training.adaptation.students import consistency_weight, labels_weight


def unit(cells: np.ndarray) -> Floats:
    return (cells / np.linalg.norm(cells, axis=-1, keepdims=True)).astype(np.float32)


def blobs(seed: int = 0) -> tuple[Floats, np.ndarray]:
    """Return cells of two directions with noise, `(2, 6, 6, 8)`, and where the first one is."""
    rng = np.random.default_rng(seed)
    is_lesion = np.zeros((2, 6, 6), bool)
    is_lesion[0, 1:4, 2:5] = is_lesion[1, 3:, :2] = True
    ways = rng.normal(size=(2, 8))
    return unit(np.where(is_lesion[..., None], *ways) + rng.normal(0, 0.1, (2, 6, 6, 8))), is_lesion


@pytest.mark.parametrize("centres", [(1, 1), (4, 8)])
def test_two_blobs_are_labelled_exactly_whatever_their_scale(centres: tuple[int, int]) -> None:
    cells, is_lesion = blobs()
    found = fit_prototypes(cells[0].reshape(-1, 8), is_lesion[0].ravel(), centres)
    np.testing.assert_array_equal(found.label(cells), is_lesion)
    scaled = fit_prototypes(7 * cells[0].reshape(-1, 8), is_lesion[0].ravel(), centres)
    np.testing.assert_array_equal(scaled.label(0.1 * cells), is_lesion)


@pytest.mark.parametrize("value", [True, False])
def test_seeds_of_one_kind_are_refused(value: bool) -> None:
    with pytest.raises(DatasetError, match="add images that show both"):
        fit_prototypes(blobs()[0][0].reshape(-1, 8), np.full(36, value))


def test_entropy_and_quantiles() -> None:
    """At quantile 1 the most unsure frame is repaired still, above 1 none."""
    maps = np.random.default_rng(0).random((5, 4, 4)).astype(np.float32)
    expected = entropy(np.stack([maps, 1 - maps]).astype(float), base=2, axis=0).mean((1, 2))
    np.testing.assert_allclose(mean_entropy(maps), expected, atol=1e-5)
    doubt = np.array([0.1, 0.5, 0.2, 0.4, 0.3])
    assert np.flatnonzero(are_unsure(doubt, 1.0)).tolist() == [1]
    assert not are_unsure(doubt, 1.01).any()
    assert are_unsure(doubt, 0.0).all()


def test_unsure_frame_takes_the_mask_of_its_copy() -> None:
    rng = np.random.default_rng(0)
    cells = unit(rng.normal(size=(3, 3, 3, 16)))
    cells[2] = cells[0]
    maps = rng.random((3, 3 * CELL_SIDE, 3 * CELL_SIDE)).astype(np.float32)
    unsure = np.array([False, False, True])
    found = repair(maps, cells, unsure, neighbours=1)
    np.testing.assert_array_equal(found[2], maps[0] >= 0.5)
    np.testing.assert_array_equal(found[:2], maps[:2])
    np.testing.assert_array_equal(repair(maps, cells, np.ones(3, bool)), maps)


def test_votes_weigh_as_much_as_their_likeness() -> None:
    """One cell a frame: the unsure one has cosines 0.8, 0.6 and -1 with the others."""
    cells = np.array([[0.8, 0.6], [0.6, -0.8], [-1, 0], [1, 0]], np.float32)[:, None, None]
    values = np.array([1, 0, 1, 0.5])
    maps = np.broadcast_to(values[:, None, None], (4, CELL_SIDE, CELL_SIDE)).astype(np.float32)
    found = repair(maps, cells, np.array([False, False, False, True]))
    np.testing.assert_allclose(found[3], 0.8 / 1.4, rtol=1e-6)


def test_cells_of_masks() -> None:
    """A cell is of what covers most of it, and a small lesion still has one."""
    masks = np.zeros((3, 32, 32), np.uint8)
    masks[0, :16, :9] = 1
    masks[1, 20:23, 20:23] = 1
    found = reduce_masks(masks, 2)
    assert found.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]
    assert spread_cells(found).sum() == 2 * CELL_SIDE**2


def test_ramps() -> None:
    assert consistency_weight(0) == pytest.approx(6.74e-4, rel=1e-3)
    assert consistency_weight(200) == consistency_weight(300) == pytest.approx(0.1)
    assert [labels_weight(done) for done in (0, 0.15, 0.3, 1)] == [0, 0.5, 1, 1]
