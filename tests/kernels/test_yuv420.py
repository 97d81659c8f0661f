"""Compares both conversions with the formula of the standards in floating point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import bgr_to_yuv420, sample_yuv420, yuv420_to_bgr
from qlumen.realtime.pixels.colour import Matrix, decoding, encoding

ROUNDING = 0.501
MATRICES = st.sampled_from([Matrix(0.2126, 0.0722), Matrix(0.299, 0.114), Matrix(0.2627, 0.0593)])
SIDES = st.integers(1, 70)
HALVES = st.integers(1, 40)
PADDING = 5
GUARD = 77


def formula(
    luma: NDArray[np.uint8], chroma: NDArray[np.uint8], matrix: Matrix, *, full: bool
) -> NDArray[np.float64]:
    """Compute B, G, R, 0 to 255, by ITU-R BT.709-6, items 3.2 to 3.5."""
    red, blue = matrix
    y = luma / 255 if full else (luma - 16.0) / 219
    u, v = (chroma - 128.0) / (255 if full else 224)
    b, r = y + 2 * (1 - blue) * u, y + 2 * (1 - red) * v
    g = (y - red * r - blue * b) / (1 - red - blue)
    return 255 * np.stack([b, g, r], axis=2).clip(0, 1)


@settings(deadline=None)
@given(SIDES, SIDES, HALVES, HALVES, MATRICES, st.booleans(), st.integers(0, 2**16))
def test_a_box_of_an_image_follows_the_formula(
    width: int, height: int, left: int, top: int, matrix: Matrix, full: bool, seed: int
) -> None:
    """Any samples follow the formula, also with odd sides and padded rows."""
    rng = np.random.default_rng(seed)
    x0, y0 = 2 * left, 2 * top
    luma = rng.integers(0, 256, (y0 + height, x0 + width + PADDING), np.uint8)
    rows, columns = -(-luma.shape[0] // 2), -(-(x0 + width) // 2)
    blue, red = rng.integers(0, 256, (2, rows, columns + PADDING), np.uint8)
    image = np.empty((height, width, 3), np.uint8)
    yuv420_to_bgr(luma, blue, red, x0, y0, decoding(matrix, full=full), image)
    part = slice(y0, y0 + height), slice(x0, x0 + width)
    whole = np.stack([blue, red]).repeat(2, axis=1).repeat(2, axis=2)
    wanted = formula(luma[part], whole[:, part[0], part[1]], matrix, full=full)
    assert np.abs(image - wanted).max() <= ROUNDING


@settings(deadline=None)
@given(st.data(), SIDES, SIDES, MATRICES, st.booleans(), st.integers(0, 2**16))
def test_samples_are_those_of_the_whole_image(
    data: st.DataObject, width: int, height: int, matrix: Matrix, full: bool, seed: int
) -> None:
    """Samples of any rows and columns, in any order, are equal bit for bit."""
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 256, (height, width + PADDING), np.uint8)
    blue, red = rng.integers(0, 256, (2, -(-height // 2), -(-width // 2) + PADDING), np.uint8)
    mapping, whole = decoding(matrix, full=full), np.empty((height, width, 3), np.uint8)
    yuv420_to_bgr(luma, blue, red, 0, 0, mapping, whole)
    rows, columns = (
        np.array(data.draw(st.lists(st.integers(0, side - 1), max_size=9)), np.intp)
        for side in (height, width)
    )
    sampled = np.empty((len(rows), len(columns), 3), np.uint8)
    sample_yuv420(luma, blue, red, rows, columns, mapping, sampled)
    np.testing.assert_array_equal(sampled, whole[np.ix_(rows, columns)])


@settings(deadline=None)
@given(HALVES, HALVES, MATRICES, st.booleans(), st.integers(0, 2**16))
def test_the_samples_of_an_image_follow_the_formula(
    width: int, height: int, matrix: Matrix, full: bool, seed: int
) -> None:
    """Chroma is that of the mean of four pixels, and the padding of rows stays unchanged."""
    image = np.random.default_rng(seed).integers(0, 256, (2 * height, 2 * width, 3), np.uint8)
    luma = np.full((2 * height, 2 * width + PADDING), GUARD, np.uint8)
    blue, red = np.full((2, height, width + PADDING), GUARD, np.uint8)
    bgr_to_yuv420(image, encoding(matrix, full=full), luma, blue, red)
    b, g, r = np.moveaxis(image / 255, 2, 0)
    y = matrix.red * r + (1 - matrix.red - matrix.blue) * g + matrix.blue * b
    wanted = 255 * y if full else 16 + 219 * y
    assert np.abs(luma[:, : 2 * width] - wanted).max() <= ROUNDING
    for plane, colour, weight in ((blue, b, matrix.blue), (red, r, matrix.red)):
        difference = (colour - y).reshape(height, 2, width, 2).mean(axis=(1, 3)) / (1 - weight) / 2
        level = (128 + (255 if full else 224) * difference).clip(0, 255)
        assert np.abs(plane[:, :width] - level).max() <= ROUNDING
        assert (plane[:, width:] == GUARD).all()
    assert (luma[:, 2 * width :] == GUARD).all()


@pytest.mark.parametrize("full", [False, True])
def test_grey_comes_back(full: bool) -> None:
    """Every level comes back exactly in full range, and within one level in limited range."""
    levels = np.arange(256, dtype=np.uint8).repeat(2)
    image = np.stack([levels] * 3, axis=1)[None].repeat(2, axis=0)
    luma, back = np.empty((2, 512), np.uint8), np.empty_like(image)
    blue, red = np.empty((2, 1, 256), np.uint8)
    matrix = Matrix(0.2126, 0.0722)
    bgr_to_yuv420(image, encoding(matrix, full=full), luma, blue, red)
    assert (blue == 128).all()
    assert (red == 128).all()
    yuv420_to_bgr(luma, blue, red, 0, 0, decoding(matrix, full=full), back)
    assert np.abs(back.astype(int) - image).max() <= (0 if full else 1)
