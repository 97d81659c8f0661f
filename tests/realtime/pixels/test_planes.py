"""Decoded frames follow the formulas of BT.709 and FFmpeg's own conversion."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.pixels.annotated import disjoint
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool

from support.media import planes_of
from support.strategies import boxes

SIDES = st.integers(1, 12).map(lambda half: 2 * half)
ROUNDING = 0.501


def exact_bgr(planes: Planes) -> NDArray[np.float64]:
    """Return ITU-R BT.709-6, items 3.2 to 3.5, solved for B, G and R.

    Each chroma sample is that of its 2x2 pixels.
    """
    y = (planes.luma - 16.0) / 219
    u, v = (np.kron(plane - 128.0, np.ones((2, 2))) / 224 for plane in planes.chroma)
    b, r = y + 1.8556 * u, y + 1.5748 * v
    g = (y - 0.2126 * r - 0.0722 * b) / 0.7152
    return 255 * np.stack([b, g, r], axis=2).clip(0, 1)


@given(SIDES, SIDES, st.integers(0, 2**16))
def test_planes_are_the_frames_samples(width: int, height: int, seed: int) -> None:
    """Planes equal the samples that FFmpeg copies, whatever the distance of its rows."""
    planes = planes_of(np.random.default_rng(seed), width, height)
    packed = planes.frame.to_ndarray()
    chroma = packed[height:].reshape(2, height // 2, width // 2)
    assert planes.size == (width, height)
    np.testing.assert_array_equal(planes.luma, packed[:height])
    np.testing.assert_array_equal(planes.chroma, chroma)


@given(st.data(), SIDES, SIDES, st.integers(0, 2**16))
def test_patches_follow_the_formula(
    data: st.DataObject, width: int, height: int, seed: int
) -> None:
    """Patches and the whole image are the formula's values, rounded once, for any samples."""
    planes = planes_of(np.random.default_rng(seed), width, height)
    (x0, y0, x1, y1), *_ = disjoint([data.draw(boxes(width, height))], planes.size)
    patch, wanted = planes.patch((x0, y0, x1, y1)), exact_bgr(planes)
    assert patch.dtype == np.uint8
    assert np.abs(patch - wanted[y0:y1, x0:x1]).max() <= ROUNDING
    assert np.abs(planes.bgr() - wanted).max() <= ROUNDING


class CountingPool(FramePool):
    taken = 0

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        self.taken += 1
        return super().take(shape)


def test_the_whole_is_converted_once_and_when_it_is_asked_for() -> None:
    """The whole image is converted once, with any number of threads at the same time."""
    pool = CountingPool()
    planes = Planes(planes_of(np.random.default_rng(0), 320, 240).frame, pool)
    planes.patch((0, 0, 8, 8))
    assert not pool.taken
    with ThreadPoolExecutor(8) as threads:
        first, *others = threads.map(lambda _: planes.bgr(), range(8))
    assert pool.taken == 1
    assert all(other is first for other in others)


@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_boxes_are_covered_by_boxes_that_do_not_overlap(
    data: st.DataObject, width: int, height: int
) -> None:
    """Every pixel of a box lies in one new box, with even bounds except at the far edges."""
    given_boxes = data.draw(st.lists(boxes(width, height), max_size=6))
    wanted, covered = np.zeros((height, width), bool), np.zeros((height, width), int)
    for x0, y0, x1, y1 in given_boxes:
        wanted[y0:y1, x0:x1] = True
    for x0, y0, x1, y1 in disjoint(given_boxes, (width, height)):
        covered[y0:y1, x0:x1] += 1
        assert x0 % 2 == y0 % 2 == 0
        assert x1 % 2 == 0 or x1 == width
        assert y1 % 2 == 0 or y1 == height
    assert covered.max(initial=0) <= 1
    assert (covered[wanted] == 1).all()
