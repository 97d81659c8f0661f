"""Every form of an image gives what its BGR shows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.pixels.annotated import Annotated, Patch, disjoint
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import to_video_frame

from support.media import planes_of
from support.strategies import boxes

HALVES = st.integers(1, 20)
SEEDS = st.integers(0, 2**16)


def bgr_image(width: int, height: int, seed: int) -> BgrImage:
    rng = np.random.default_rng(seed)
    return BgrImage(rng.integers(0, 256, (height, width, 3), np.uint8))


def planes(width: int, height: int, seed: int) -> Planes:
    return planes_of(np.random.default_rng(seed), width, height)


def planes_of_a_crop(width: int, height: int, seed: int) -> Pixels:
    larger = planes_of(np.random.default_rng(seed), width + 6, height + 8)
    return larger.crop((2, 4, 2 + width, 4 + height))


def paint_quarter(pixels: Pixels, seed: int) -> Annotated:
    """Paint some pixels in a quarter of the image."""
    width, height = pixels.size
    rng = np.random.default_rng(seed)
    (box,) = disjoint([(0, 0, (width + 1) // 2, (height + 1) // 2)], pixels.size)
    image = pixels.patch(box)
    marked = (rng.random(image.shape[:2]) > 0.5).astype(np.uint8)
    image[marked > 0] = rng.integers(0, 256, 3)
    return Annotated(pixels, (Patch(box, image, marked),), FramePool())


FORMS: dict[str, Callable[[int, int, int], Pixels]] = {
    "array": bgr_image,
    "planes": planes,
    "crop of planes": planes_of_a_crop,
    "annotated array": lambda *given_: paint_quarter(bgr_image(*given_), given_[2]),
    "annotated planes": lambda *given_: paint_quarter(planes(*given_), given_[2]),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@forms
@given(data=st.data(), halves=st.tuples(HALVES, HALVES), seed=SEEDS)
def test_every_part_is_that_of_the_whole(
    form: Callable[[int, int, int], Pixels],
    data: st.DataObject,
    halves: tuple[int, int],
    seed: int,
) -> None:
    """Patches, crops, crops of crops and samples equal a whole array that is read-only.

    Patches and samples are read first, so that they are not taken from the whole array.
    """
    width, height = 2 * halves[0], 2 * halves[1]
    pixels = form(width, height, seed)
    box = disjoint([data.draw(boxes(width, height))], pixels.size)[0]
    rows = data.draw(places(height))
    columns = data.draw(places(width))
    x0, y0, x1, y1 = box
    patch, sampled, crop = pixels.patch(box), pixels.sample(rows, columns), pixels.crop(box)
    cropped = crop.sample(np.arange(y1 - y0), np.arange(x1 - x0))
    written = np.zeros((height, width, 3), np.uint8)
    pixels.write_bgr(written)
    whole = pixels.bgr()
    assert pixels.size == (width, height)
    assert whole.shape == (height, width, 3)
    assert not whole.flags.writeable
    assert pixels.bgr() is whole
    np.testing.assert_array_equal(written, whole)
    np.testing.assert_array_equal(patch, whole[y0:y1, x0:x1])
    np.testing.assert_array_equal(sampled, whole[np.ix_(rows, columns)])
    np.testing.assert_array_equal(cropped, whole[y0:y1, x0:x1])
    np.testing.assert_array_equal(crop.bgr(), whole[y0:y1, x0:x1])
    assert crop.size == (x1 - x0, y1 - y0)
    inner = (0, 0, *disjoint([(0, 0, (x1 - x0 + 1) // 2, (y1 - y0 + 1) // 2)], crop.size)[0][2:])
    np.testing.assert_array_equal(crop.crop(inner).bgr(), crop.bgr()[: inner[3], : inner[2]])
    np.testing.assert_array_equal(crop.patch(inner), crop.bgr()[: inner[3], : inner[2]])


def places(end: int) -> st.SearchStrategy[NDArray[np.intp]]:
    """Draw rows or columns in any order, with repeats, or no rows at all."""
    return st.lists(st.integers(0, end - 1), max_size=8).map(lambda found: np.array(found, np.intp))


@forms
@given(data=st.data(), halves=st.tuples(HALVES, HALVES), seed=SEEDS)
def test_a_crop_is_resized_and_encoded_as_an_image_of_its_own(
    form: Callable[[int, int, int], Pixels],
    data: st.DataObject,
    halves: tuple[int, int],
    seed: int,
) -> None:
    """All bits are those of the same samples alone: nothing from outside the box comes in."""
    width, height = 2 * halves[0], 2 * halves[1]
    pixels = form(width, height, seed)
    crop = pixels.crop(disjoint([data.draw(boxes(width, height))], pixels.size)[0])
    alone = (
        Planes(crop.yuv420p())
        if isinstance(crop, Planes)
        else BgrImage(np.ascontiguousarray(crop.bgr()))
    )
    size = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
    resized = crop.resize(size)
    assert resized.shape == (size[1], size[0], 3)
    assert resized.flags.c_contiguous
    assert resized.flags.writeable
    np.testing.assert_array_equal(resized, alone.resize(size))
    np.testing.assert_array_equal(crop.bgr(), alone.bgr())
    np.testing.assert_array_equal(crop.yuv420p().to_ndarray(), alone.yuv420p().to_ndarray())


@given(st.integers(1, 21), st.integers(1, 21), SEEDS)
def test_an_annotated_array_is_encoded_like_the_array_it_shows(
    width: int, height: int, seed: int
) -> None:
    """Both frames are equal, also with odd sides whose last row and column are repeated."""
    annotated = paint_quarter(bgr_image(width, height, seed), seed)
    wanted = to_video_frame(annotated.bgr()).to_ndarray()
    np.testing.assert_array_equal(annotated.yuv420p().to_ndarray(), wanted)


@forms
@pytest.mark.parametrize("box", [(0, 0, 10, 8), (-2, 0, 4, 4), (4, 2, 4, 4)])
def test_boxes_that_are_not_inside_are_refused(
    form: Callable[[int, int, int], Pixels], box: tuple[int, int, int, int]
) -> None:
    """Boxes that are too large, outside or empty are errors, as are missing rows and columns."""
    pixels = form(8, 8, 0)
    for ask in (pixels.crop, pixels.patch):
        with pytest.raises(ValueError, match="not inside the image of 8x8"):
            ask(box)
    inside = np.arange(8)
    for rows, columns in ((inside + 1, inside), (inside, inside - 1)):
        with pytest.raises(IndexError, match="of an image with 8"):
            pixels.sample(rows, columns)


def test_a_box_that_cuts_chroma_samples_is_refused() -> None:
    """Planes cannot be split at an odd row or column."""
    for box in ((1, 0, 4, 4), (0, 0, 4, 3)):
        with pytest.raises(ValueError, match="even bounds"):
            planes(8, 8, 0).crop(box)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3), np.float32)],
)
def test_arrays_of_another_kind_are_refused(array: NDArray[np.uint8]) -> None:
    """The error names the array: grey, with transparency, or of other numbers."""
    with pytest.raises(ValueError, match=r"needs \(H, W, 3\) uint8"):
        BgrImage(array)
