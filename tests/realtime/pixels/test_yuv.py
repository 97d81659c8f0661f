"""BGR becomes planar YUV as the formulas of BT.709 say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.yuv420 import bgr_to_yuv420
from qlumen.realtime.pixels.annotated import Annotated, Patch, disjoint
from qlumen.realtime.pixels.planes import warm_up
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import fit, pad_to_even, to_video_frame

from support.media import planes_of
from support.strategies import boxes

ROUNDING = 0.501
SIDES = st.integers(1, 12).map(lambda half: 2 * half)


def exact_yuv(image: np.ndarray) -> np.ndarray:
    """Return ITU-R BT.709-6, items 3.2 to 3.4: 8-bit signals that are not rounded."""
    b, g, r = np.moveaxis(image / 255, 2, 0)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return np.stack([16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748])


@given(SIDES, SIDES, st.integers(0, 2**16))
def test_planes_follow_the_formula(width: int, height: int, seed: int) -> None:
    """Luma is the formula's, and chroma is that of its mean over 2x2 pixels, rounded once."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    planes = to_video_frame(image).to_ndarray()
    y, u, v = exact_yuv(image)
    assert planes.shape == (height * 3 // 2, width)
    assert np.abs(planes[:height] - y).max() <= ROUNDING
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    for plane, full in zip(chroma, (u, v), strict=True):
        means = full.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        assert np.abs(plane - means).max() <= ROUNDING


@pytest.mark.parametrize(
    ("bgr", "yuv"),
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((0, 0, 255), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((255, 0, 0), (32, 240, 118)),
    ],
)
def test_primaries(bgr: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    """White, black, red, green and blue have the known values of 100% colour bars."""
    planes = to_video_frame(np.full((4, 4, 3), bgr, np.uint8)).to_ndarray()
    assert (planes[:4] == yuv[0]).all()
    assert (planes[4] == yuv[1]).all()
    assert (planes[5] == yuv[2]).all()


def test_nothing_is_compiled_for_an_image_that_is_read_only() -> None:
    """A read-only image needs no compilation after the warm-up with a writable one.

    A recording of live video would lose frames meanwhile.
    """
    warm_up()
    before = list(bgr_to_yuv420.signatures)
    image = np.full((4, 4, 3), 9, np.uint8)
    image.flags.writeable = False
    assert to_video_frame(image).to_ndarray()[0, 0] == 24
    assert bgr_to_yuv420.signatures == before


@given(st.data(), SIDES, SIDES, st.integers(0, 2**16))
def test_only_the_patches_are_painted_again(
    data: st.DataObject, width: int, height: int, seed: int
) -> None:
    """Marked pixels, and chroma whose 2x2 pixels have one, are the patches'.

    All other samples keep the decoder's bits.
    """
    rng = np.random.default_rng(seed)
    planes = planes_of(rng, width, height)
    before = planes.frame.to_ndarray()
    places = disjoint(data.draw(st.lists(boxes(width, height), max_size=3)), (width, height))
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    marked, inside = rng.random((height, width)) > 0.7, np.zeros((height, width), bool)
    patches = []
    for x0, y0, x1, y1 in places:
        part = slice(y0, y1), slice(x0, x1)
        inside[part] = True
        patches.append(Patch((x0, y0, x1, y1), image[part].copy(), marked[part].astype(np.uint8)))
    painted = Annotated(planes, tuple(patches), FramePool()).yuv420p().to_ndarray()
    marked &= inside
    touched = marked.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))
    mask = np.concatenate([marked, np.tile(touched.reshape(-1), 2).reshape(-1, width)])
    np.testing.assert_array_equal(
        painted, np.where(mask, to_video_frame(image).to_ndarray(), before)
    )
    np.testing.assert_array_equal(planes.frame.to_ndarray(), before)


@given(st.integers(1, 9), st.integers(1, 9))
def test_padding_repeats_the_edge(width: int, height: int) -> None:
    """Even sizes stay as they are; odd sizes become even as with NumPy's edge padding."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    np.testing.assert_array_equal(pad_to_even(image), np.pad(image, padding, mode="edge"))


@given(*[st.integers(1, 60)] * 4)
def test_fitting_keeps_the_shape_between_black_bars(
    width: int, height: int, canvas_width: int, canvas_height: int
) -> None:
    """A white image fills the canvas along one side and keeps its proportions."""
    white = np.full((height, width, 3), 255, np.uint8)
    fitted = fit(white, (canvas_width, canvas_height))
    assert fitted.shape == (canvas_height, canvas_width, 3)
    rows, columns = np.nonzero(fitted[..., 0])
    inner = (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert inner[0] == canvas_width or inner[1] == canvas_height
    scale = min(canvas_width / width, canvas_height / height)
    assert abs(inner[0] - width * scale) <= 1
    assert abs(inner[1] - height * scale) <= 1
