import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import directed_hausdorff

from qlumen.evaluation.metrics import border_distance, score

MASKS = arrays(np.uint8, (9, 12), elements=st.integers(0, 1))


@given(MASKS, MASKS)
@settings(max_examples=50)
def test_scores_equal_the_counts(mask: np.ndarray, truth: np.ndarray) -> None:
    """Dice, IoU, precision and recall equal those from a count of the pixels."""
    pairs = list(zip(mask.ravel().tolist(), truth.ravel().tolist(), strict=True))
    tp, fp = pairs.count((1, 1)), pairs.count((1, 0))
    fn = pairs.count((0, 1))
    got = score(mask, truth, mask.astype(np.float32))
    assert got.dice == (2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1)
    assert got.iou == (tp / (tp + fp + fn) if tp + fp + fn else 1)
    assert got.precision == (tp / (tp + fp) if tp + fp else 1)
    assert got.recall == (tp / (tp + fn) if tp + fn else 1)
    assert got.mae == pytest.approx((fp + fn) / mask.size)
    assert (got.hd95_px is None) == (not (mask.any() and truth.any()))


@given(MASKS.filter(np.any), MASKS.filter(np.any))
@settings(max_examples=50)
def test_largest_border_distance_is_scipys_hausdorff(mask: np.ndarray, truth: np.ndarray) -> None:
    """At the 100th percentile the distance is the Hausdorff distance of the border pixels."""
    a, b = border_pixels(mask), border_pixels(truth)
    wanted = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert border_distance(mask, truth, percentile=100) == pytest.approx(wanted)


def border_pixels(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~(inner.astype(bool)))


def test_border_distance_of_a_shifted_square() -> None:
    """A square that moves by three pixels has a distance of three pixels at its far sides."""
    mask, truth = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    mask[5:10, 5:10] = 1
    truth[5:10, 8:13] = 1
    assert border_distance(mask, truth) == 3.0


def test_sizes_must_agree() -> None:
    """A mask of another size raises an error with both sizes."""
    small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(2, 2\), truth \(3, 3\)"):
        score(small, large, np.zeros((2, 2), np.float32))
