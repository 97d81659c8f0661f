"""The number in the test pattern can be read after all that video does to an image."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.sources.pattern import BLOCKS, PatternSource, draw_number, read_number

from support.media import make_images, read_video, write_video

NUMBERS = st.integers(0, 2**32 - 1)


@given(NUMBERS, st.integers(192, 700), st.integers(64, 500), st.integers(0, 255))
def test_number_is_read_back(number: int, width: int, height: int, grey: int) -> None:
    """At any size that the settings allow, the number drawn is the number read."""
    image = np.full((height, width, 3), grey, np.uint8)
    draw_number(image, number)
    assert read_number(image) == number


@given(NUMBERS, st.floats(0.4, 2.5), st.floats(0.4, 2.5))
def test_number_survives_scaling(number: int, across: float, down: float) -> None:
    """An image that is scaled, even unevenly, keeps its number."""
    image = np.zeros((288, 640, 3), np.uint8)
    draw_number(image, number)
    assert read_number(cv2.resize(image, None, fx=across, fy=down)) == number


@given(NUMBERS, st.integers(2, BLOCKS - 1))
def test_a_wrong_block_is_noticed(number: int, block: int) -> None:
    """An image with an inverted block has no number and not a wrong one."""
    image = np.zeros((64, BLOCKS * 8, 3), np.uint8)
    draw_number(image, number)
    columns = slice(block * 8, block * 8 + 8)
    image[:, columns] = 255 - image[:, columns]
    assert read_number(image) is None


def test_other_images_have_no_number() -> None:
    """Flat images, gradients and noise do not count as numbers."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 240, 320, 3), np.uint8)
    others = [
        *make_images(5, 320, 240),
        *(np.full((240, 320, 3), v, np.uint8) for v in (0, 99, 255)),
    ]
    assert [read_number(image) for image in (*noise, *others)] == [None] * 208


def test_number_survives_a_real_encoder(tmp_path: Path) -> None:
    """Every frame of a small, strongly compressed video shows its number."""
    source = PatternSource(320, 180, Fraction(25))
    images = [source.picture(index) for index in range(60)]
    path = write_video(tmp_path / "a.mp4", images, options={"crf": "38", "preset": "veryfast"})
    assert [read_number(image) for image in read_video(path)[1]] == list(range(60))


@pytest.mark.parametrize("size", [(192, 64), (1920, 1080), (333, 777)])
def test_bars_and_mover(size: tuple[int, int]) -> None:
    """The bars are those of the standard, and a part moves from frame to frame."""
    source = PatternSource(*size, Fraction(25))
    first, second = source.picture(0), source.picture(1)
    height = size[1]
    row = height - height // 8 - 2
    middles = [first[row, (2 * bar + 1) * size[0] // 16].tolist() for bar in range(8)]
    white, yellow, cyan, green, magenta, red, blue, black = middles
    assert (white, yellow, cyan, green) == ([191] * 3, [0, 191, 191], [191, 191, 0], [0, 191, 0])
    assert (magenta, red, blue, black) == ([191, 0, 191], [0, 0, 191], [191, 0, 0], [0] * 3)
    above = slice(height // 8, row)
    assert np.any(first[above] != second[above])
