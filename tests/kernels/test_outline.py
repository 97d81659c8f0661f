import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.kernels.contours import trace_border
from qlumen.kernels.outline import FILL, LINE, RIM, stamp_border, stamp_mask

from support import naive
from support.strategies import masks


def square(radius: int) -> NDArray[np.int32]:
    return np.full(2 * radius + 1, radius, np.int32)


@settings(deadline=None)
@given(masks(), st.integers(0, 3))
def test_stamping_all_borders_is_a_dilation(mask: NDArray[np.uint8], radius: int) -> None:
    """Borders stamped with a square, together with the mask, are the mask dilated by it."""
    mask = naive.fill_holes(mask)
    parts = np.zeros_like(mask)
    for blob in naive.components(mask):
        points = np.empty((4096, 2), np.int32)
        count = trace_border(mask, blob[0][1], blob[0][0], points)
        stamp_border(points[:count], square(radius), LINE, parts)
    dilated = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        dilated[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = 1
    np.testing.assert_array_equal((parts > 0) | (mask > 0), dilated)


def test_a_line_of_two_points_is_stamped_in_between() -> None:
    """The points between the ends of a straight line are also stamped."""
    parts = np.zeros((3, 5), np.uint8)
    stamp_border(np.array([[0, 0], [2, 2]], np.int32), square(0), RIM, parts)
    assert parts.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]


def test_mask_is_stamped_in_its_box_only() -> None:
    """Only mask pixels of the box change, and nothing is erased."""
    mask = np.array([[1, 0, 1], [1, 1, 1]], np.uint8)
    parts = np.full((2, 3), LINE, np.uint8)
    stamp_mask(mask, 0, 0, 2, 2, parts)
    assert parts.tolist() == [[FILL, LINE, LINE], [FILL, FILL, LINE]]
