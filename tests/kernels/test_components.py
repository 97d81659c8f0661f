import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.kernels.components import (
    EIGHT_CONNECTED,
    FOUR_CONNECTED,
    keep_numbered,
    label_runs,
    largest,
    mark_strong,
    measure,
)

from support import naive
from support.strategies import masks

REACHES = st.sampled_from((EIGHT_CONNECTED, FOUR_CONNECTED))


def label_mask(
    mask: NDArray[np.uint8], reach: int = EIGHT_CONNECTED
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    spans, row_first = naive.runs(mask)
    label = np.empty(len(spans), np.int32)
    label_runs(spans, row_first, reach, label)
    return spans, row_first, label


def paint_values(
    spans: NDArray[np.int32],
    row_first: NDArray[np.int32],
    values: NDArray[np.integer],
    shape: tuple[int, ...],
) -> NDArray[np.int64]:
    """Paint each run's value on a background of 0."""
    result = np.zeros(shape, np.int64)
    for y in range(shape[0]):
        for i in range(row_first[y], row_first[y + 1]):
            result[y, spans[i, 0] : spans[i, 1]] = values[i]
    return result


def rank_roots(label: NDArray[np.int32]) -> NDArray[np.int64]:
    """Replace roots by 1, 2, 3 ... in raster order."""
    return np.unique(label, return_inverse=True)[1] + 1


@settings(deadline=None)
@given(masks(), REACHES)
def test_labels_are_scipys(mask: NDArray[np.uint8], reach: int) -> None:
    """Components, numbered from the top left, equal `scipy.ndimage.label`."""
    spans, row_first, label = label_mask(mask, reach)
    ours = paint_values(spans, row_first, rank_roots(label), mask.shape)
    structure = ndimage.generate_binary_structure(2, 2 if reach == EIGHT_CONNECTED else 1)
    np.testing.assert_array_equal(ours, ndimage.label(mask, structure)[0])


@settings(deadline=None)
@given(masks())
def test_components_are_the_oracles(mask: NDArray[np.uint8]) -> None:
    """A flood fill pixel by pixel finds the same components."""
    spans, row_first, label = label_mask(mask)
    ours = paint_values(spans, row_first, rank_roots(label), mask.shape)
    blobs = naive.components(mask)
    assert ours.max(initial=0) == len(blobs)
    for number, blob in enumerate(blobs, start=1):
        assert {ours[pixel] for pixel in blob} == {number}


@settings(deadline=None)
@given(masks())
def test_areas_and_boxes_are_opencvs(mask: NDArray[np.uint8]) -> None:
    """Areas and boxes equal those of `cv2.connectedComponentsWithStats`."""
    spans, row_first, label = label_mask(mask)
    area, box = np.empty(len(spans), np.int32), np.empty((len(spans), 4), np.int32)
    measure(spans, row_first, label, area, box)
    roots = np.unique(label)
    ours = [(*box[root], area[root]) for root in roots]
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    theirs = [(x, y, x + w, y + h, size) for x, y, w, h, size in stats[1:].tolist()]
    assert sorted(ours) == sorted(theirs)
    assert np.count_nonzero(area) == len(roots)


@settings(deadline=None)
@given(masks(), st.integers(0, 2**16))
def test_hysteresis_keeps_whole_components_with_a_strong_run(
    mask: NDArray[np.uint8], seed: int
) -> None:
    """Only the components that hold a strong run stay, with all their runs."""
    spans, row_first, label = label_mask(mask)
    strong = (np.random.default_rng(seed).random(len(spans)) < 0.2).astype(np.uint8)
    wanted = set(label[strong == 1].tolist())
    expected = paint_values(spans, row_first, np.isin(label, list(wanted)), mask.shape)
    mark_strong(strong, label, len(spans))
    kept = keep_numbered(spans, row_first, label, strong)
    assert kept == row_first[-1]
    np.testing.assert_array_equal(paint_values(spans, row_first, label, mask.shape), expected)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 3)), max_size=30),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_largest_is_a_stable_sort(
    parts: list[tuple[int, int, int]], limit: int, min_area: int
) -> None:
    """The choice is the start of a sort by falling area, then top, left and first seen."""
    area = np.array([part[0] for part in parts], np.int32)
    box = np.array([(x, y, 0, 0) for _, x, y in parts], np.int32).reshape(-1, 4)
    roots = np.empty(limit, np.int32)
    chosen = largest(area, box, len(parts), min_area, roots)
    big = [i for i in range(len(parts)) if area[i] >= min_area]
    expected = sorted(big, key=lambda i: (-area[i], box[i, 1], box[i, 0]))[:limit]
    assert roots[:chosen].tolist() == expected


@pytest.mark.parametrize(("reach", "count"), [(EIGHT_CONNECTED, 1), (FOUR_CONNECTED, 2)])
def test_touching_corners(reach: int, count: int) -> None:
    """Two pixels that share a corner are one component of 8 neighbours, or two of 4 neighbours."""
    _, _, label = label_mask(np.eye(2, dtype=np.uint8), reach)
    assert len(np.unique(label)) == count
