from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.evaluation.detection import Hits, hits, iou, lesion_boxes, summary

SPAN = st.tuples(st.integers(0, 11), st.integers(1, 8))
BOXES = st.lists(
    st.tuples(SPAN, SPAN).map(
        lambda spans: (
            spans[0][0],
            spans[1][0],
            spans[0][0] + spans[0][1],
            spans[1][0] + spans[1][1],
        )
    ),
    max_size=4,
)
SIDE = 20


def paint(box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@given(BOXES, BOXES)
@settings(max_examples=60)
def test_iou_is_that_of_painted_boxes(one: list, two: list) -> None:
    """The IoU equals a count of the pixels."""
    for a in one:
        for b in two:
            p, q = paint(a), paint(b)
            assert iou(a, b) == (p & q).sum() / (p | q).sum()


@given(BOXES, BOXES)
@settings(max_examples=100)
def test_pairs_are_one_to_one(found: list, true: list) -> None:
    """There are never more hits than in the best pairing, and at least half as many."""
    got = hits(found, true)
    assert got.lesions == len(true)
    assert got.hit + got.false_findings == len(found)
    best = count_best_pairs(found, true)
    assert got.hit <= best
    assert 2 * got.hit >= best


def count_best_pairs(found: list, true: list) -> int:
    short, long = sorted((found, true), key=len)
    return max(
        sum(iou(a, b) >= 0.3 for a, b in zip(short, order, strict=True))
        for order in permutations(long, len(short))
    )


def test_worked_case() -> None:
    """Of two findings on a lesion one counts and one is false, and the other lesion is missed."""
    found = [(0, 0, 10, 10), (0, 0, 10, 9), (50, 50, 60, 60)]
    assert hits(found, [(0, 0, 10, 10), (30, 30, 40, 40)]) == Hits(2, 1, 2)
    assert hits([], []) == Hits(0, 0, 0)


def test_lesion_boxes_of_a_drawn_mask() -> None:
    """Parts that touch at a corner are one lesion, and boxes are half open. Of 10,000 pixels, 4
    are too few for a lesion, and 5 are enough."""
    mask = np.zeros((12, 14), np.uint8)
    mask[1:3, 2:5] = 1
    mask[3:4, 5:6] = 1
    mask[8:12, 10:14] = 1
    assert sorted(lesion_boxes(mask)) == [(2, 1, 6, 4), (10, 8, 14, 12)]
    large = np.zeros((100, 100), np.uint8)
    large[0, :4] = large[50, :5] = 1
    assert lesion_boxes(large) == [(0, 50, 5, 51)]
    assert lesion_boxes(np.zeros((4, 4), np.uint8)) == []


def test_summary_by_hand() -> None:
    """The summary counts a frame with one of two lesions hit, a missed lesion, and no lesion."""
    got = summary([Hits(2, 1, 0), Hits(1, 0, 2), Hits(0, 0, 1)])
    assert got == {
        "frames": 3,
        "lesions": 3,
        "lesion_sensitivity": 1 / 3,
        "frame_sensitivity": 1 / 2,
        "false_findings_per_frame": 1.0,
    }
    assert summary([Hits(0, 0, 0)])["lesion_sensitivity"] is None
