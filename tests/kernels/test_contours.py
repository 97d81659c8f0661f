import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from qlumen.kernels.contours import trace_border

from support import naive
from support.strategies import masks

ROOM = 4096


def trace(mask: NDArray[np.uint8], x: int, y: int) -> list[list[int]]:
    points = np.empty((ROOM, 2), np.int32)
    count = trace_border(mask, x, y, points)
    return points[:count].tolist()


def opencv_contours(mask: NDArray[np.uint8]) -> list[list[list[int]]]:
    """Return OpenCV's external contours, turned to run clockwise from the same pixel."""
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = [one.reshape(-1, 2).tolist() for one in found]
    return sorted([one[0], *one[:0:-1]] for one in points)


@settings(max_examples=300)
@given(masks())
def test_borders_are_opencvs(mask: NDArray[np.uint8]) -> None:
    """Each border of a mask without holes equals OpenCV's external contour, point by point."""
    mask = naive.fill_holes(mask)
    starts = [blob[0] for blob in naive.components(mask)]
    assert sorted(trace(mask, x, y) for y, x in starts) == opencv_contours(mask)


@settings(max_examples=200)
@given(masks())
def test_filling_a_border_gives_its_component_back(mask: NDArray[np.uint8]) -> None:
    """Filling each border alone by `cv2.fillPoly` sets exactly the pixels of its component."""
    mask = naive.fill_holes(mask)
    for blob in naive.components(mask):
        canvas = np.zeros_like(mask)
        y, x = blob[0]
        cv2.fillPoly(canvas, [np.array(trace(mask, x, y), np.int32)], 1)
        assert sorted(map(tuple, np.argwhere(canvas).tolist())) == blob


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["#"], [[0, 0]]),
        (["####"], [[0, 0], [3, 0]]),
        (["##", "##"], [[0, 0], [1, 0], [1, 1], [0, 1]]),
        ([".#.", "###", ".#."], [[1, 0], [2, 1], [1, 2], [0, 1]]),
        (["#..", ".#.", "..#"], [[0, 0], [2, 2]]),
        (["#.#", ".#."], [[0, 0], [1, 1], [2, 0], [1, 1]]),
    ],
)
def test_worked_cases(rows: list[str], expected: list[list[int]]) -> None:
    """A pixel, lines, a square, a cross and a V, worked by hand, run clockwise over corners."""
    mask = np.array([[mark == "#" for mark in row] for row in rows], np.uint8)
    assert trace(mask, 0 if rows[0][0] == "#" else 1, 0) == expected


def test_points_that_do_not_fit_are_counted_and_not_written() -> None:
    """With room for two points, the count is still that of the whole border."""
    points = np.full((2, 2), -1, np.int32)
    assert trace_border(np.ones((3, 3), np.uint8), 0, 0, points) == 4
    assert points.tolist() == [[0, 0], [2, 0]]
