import numpy as np
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.kernels.morphology import fill_holes

from support import naive
from support.strategies import masks


def fill(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    spans, row_first = naive.runs(mask)
    height, width = mask.shape
    room = len(spans) + height
    gaps, gap_first = np.empty((room, 2), np.int32), np.empty(height + 1, np.int32)
    label, outside = np.empty(room, np.int32), np.empty(room, np.uint8)
    count = fill_holes(spans, row_first, width, gaps, gap_first, label, outside)
    assert count == row_first[-1]
    result = np.zeros_like(mask)
    for y in range(height):
        for i in range(row_first[y], row_first[y + 1]):
            result[y, spans[i, 0] : spans[i, 1]] = 1
    return result


@settings(max_examples=200)
@given(masks())
def test_filling_is_scipys_and_the_oracles(mask: NDArray[np.uint8]) -> None:
    """The filled mask equals `scipy.ndimage.binary_fill_holes` and a flood from outside."""
    result = fill(mask)
    np.testing.assert_array_equal(result, ndimage.binary_fill_holes(mask))
    np.testing.assert_array_equal(result, naive.fill_holes(mask))


@settings(deadline=None)
@given(masks())
def test_filling_twice_changes_nothing(mask: NDArray[np.uint8]) -> None:
    """A filled mask has no holes."""
    once = fill(mask)
    np.testing.assert_array_equal(fill(once), once)


def test_ring_with_an_island() -> None:
    """An island in a hole and the hole around it become one with the ring."""
    mask = np.ones((7, 7), np.uint8)
    mask[1:6, 1:6] = 0
    mask[3, 3] = 1
    assert fill(mask).all()


def test_corner_gap_does_not_open_a_hole() -> None:
    """Background connects over edges only, so a ring closed by corners alone has a hole."""
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    assert fill(diamond).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def test_bay_at_the_frame_edge_is_no_hole() -> None:
    """Background enclosed by a blob and the frame's edge stays background."""
    bay = np.array([[1, 0, 1], [1, 1, 1]], np.uint8)
    np.testing.assert_array_equal(fill(bay), bay)
