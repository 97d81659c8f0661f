import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.evaluation.curves import LEVELS, curves, pixel_counts

Maps = list[tuple[NDArray[np.float32], NDArray[np.uint8]]]


def maps(seed: int, count: int = 3, lesion: bool = True) -> Maps:
    """Draw masks and probabilities, some of them exactly on the thresholds."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        probability = rng.random((13, 9), dtype=np.float32)
        probability[0] = rng.integers(0, LEVELS + 1, 9) / LEVELS
        images.append((probability, (rng.random((13, 9)) < 0.4 * lesion).astype(np.uint8)))
    return images


@given(st.integers(0, 1000), st.booleans())
def test_curves_are_those_of_thresholded_masks(seed: int, lesion: bool) -> None:
    """The curves equal counts of each mask {probability >= threshold}, pixel by pixel."""
    images = maps(seed, lesion=lesion)
    result = curves([pixel_counts(*image) for image in images])
    for level in (0, 1, 50, 64, LEVELS - 1):
        dice, iou, hit, found, real = [], [], 0, 0, 0
        for probability, truth in images:
            mask = probability >= result["threshold"][level]
            overlap, union = int((mask & (truth == 1)).sum()), int((mask | (truth == 1)).sum())
            total = int(mask.sum() + truth.sum())
            dice.append(2 * overlap / total if total else 1)
            iou.append(overlap / union if union else 1)
            hit, found, real = hit + overlap, found + int(mask.sum()), real + int(truth.sum())
        assert result["dice"][level] == pytest.approx(np.mean(dice))
        assert result["iou"][level] == pytest.approx(np.mean(iou))
        assert result["precision"][level] == pytest.approx(hit / found if found else 1)
        if real:
            assert result["recall"][level] == pytest.approx(hit / real)
        else:
            assert result["recall"] is None
            assert result["average_precision"] is None


@given(st.integers(0, 1000))
def test_average_precision_is_scikit_learns(seed: int) -> None:
    """scikit-learn gives the same value for all pixels, with probabilities rounded down."""
    metrics = pytest.importorskip("sklearn.metrics")
    images = maps(seed)
    truth = np.concatenate([t.ravel() for _, t in images])
    reached = np.concatenate([np.floor(p.ravel() * LEVELS) for p, _ in images])
    theirs = metrics.average_precision_score(truth, np.minimum(reached, LEVELS - 1))
    ours = curves([pixel_counts(*image) for image in images])["average_precision"]
    assert ours == pytest.approx(theirs)


def test_perfect_map_and_nan() -> None:
    """A map that is its mask has Dice 1 at every threshold above 0; NaN counts as 0."""
    truth = np.eye(5, dtype=np.uint8)
    result = curves([pixel_counts(truth.astype(np.float32), truth)])
    assert result["dice"][1:] == [1.0] * (LEVELS - 1)
    assert result["average_precision"] == 1
    empty = np.full((5, 5), np.nan, np.float32)
    assert curves([pixel_counts(empty, truth)])["recall"][1] == 0
