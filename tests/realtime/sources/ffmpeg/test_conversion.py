"""Colours follow the standards' formulas, and orientation follows a pixel map."""

from itertools import product

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.ffmpeg.conversion import to_bgr, turn_upright

RED_BLUE = {
    1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}  # fmt: skip
"""Keys are the numbers in ITU-T H.273: BT.709, FCC, twice BT.601, SMPTE 240M, BT.2020."""
UNFLAGGED = 2
BYTES = st.integers(0, 255)


def flat_frame(yuv: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for plane, level in zip(frame.planes, yuv, strict=True):
        plane.update(np.full(plane.buffer_size, level, np.uint8).tobytes())
    return frame


def yuv_of(bgr: tuple[int, int, int], matrix: int, full: bool) -> tuple[int, int, int]:
    """Return 8-bit signals as in ITU-R BT.709-6."""
    red, blue = RED_BLUE[matrix]
    b, g, r = (level / 255 for level in bgr)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (1 - blue) / 2, (r - y) / (1 - red) / 2
    scaled = (255 * y, 255 * u, 255 * v) if full else (16 + 219 * y, 224 * u, 224 * v)
    return round(scaled[0]), min(255, round(128 + scaled[1])), min(255, round(128 + scaled[2]))


def assert_close(frame: av.VideoFrame, bgr: tuple[int, int, int]) -> None:
    image = to_bgr(frame, FramePool())
    assert image.shape == (frame.height, frame.width, 3)
    rounding = 2  # of the YUV levels, in levels of blue
    assert np.abs(image.astype(int) - bgr).max() <= rounding


@given(st.tuples(BYTES, BYTES, BYTES), st.sampled_from(list(RED_BLUE)), st.booleans())
def test_flagged_frames_follow_the_formula(
    bgr: tuple[int, int, int], matrix: int, full: bool
) -> None:
    """For any colour, matrix and range, BGR to YUV by formula and back is the identity."""
    frame = flat_frame(yuv_of(bgr, matrix, full))
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    assert_close(frame, bgr)


@given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 2**16))
def test_alternating_chroma_is_that_of_planes(
    width: int, height: int, full: bool, seed: int
) -> None:
    """`nv12`, which hardware decodes to, holds the samples of `yuv420p` in another order."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 256, (3 * height, 2 * width), np.uint8)
    planar = av.VideoFrame.from_ndarray(samples, format="yuv420p")
    chroma = samples[2 * height :].reshape(2, -1)
    mixed = np.concatenate([samples[: 2 * height], chroma.T.reshape(height, 2 * width)])
    alternating = av.VideoFrame.from_ndarray(mixed, format="nv12")
    for frame in (planar, alternating):
        frame.color_range = 2 if full else 1
    wanted, pool = to_bgr(planar, FramePool()), FramePool()
    np.testing.assert_array_equal(to_bgr(alternating, pool), wanted)


@pytest.mark.parametrize("flag", [8, 10])
def test_an_unknown_flag_counts_as_no_flag(flag: int) -> None:
    """YCgCo and BT.2020 with constant luminance, which FFmpeg does not convert, are unknown."""
    frame = flat_frame((90, 100, 180))
    unflagged = to_bgr(frame, FramePool())
    frame.colorspace = flag
    np.testing.assert_array_equal(to_bgr(frame, FramePool()), unflagged)


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), 5), ((560, 480), 5), ((1280, 720), 1), ((720, 578), 1), ((1280, 16), 1)],
)
def test_without_a_flag_the_size_decides(size: tuple[int, int], matrix: int) -> None:
    """Standard definition counts as BT.601 and high definition as BT.709."""
    bgr = (30, 60, 220)
    frame = flat_frame(yuv_of(bgr, matrix, full=False), size)
    assert frame.colorspace == UNFLAGGED
    assert_close(frame, bgr)


def test_images_keep_their_pixels_while_held() -> None:
    """An image in use is not overwritten, and a dropped image's array takes the next image.

    This holds for any width, with one pool.
    """
    pool, levels = FramePool(), (40, 120, 200)
    for width in (16, 15):
        frames = [flat_frame((level, 128, 128), (width, 16)) for level in levels]
        first, second = to_bgr(frames[0], pool), to_bgr(frames[1], pool)
        kept, place = first.copy(), second.ctypes.data
        del second
        third = to_bgr(frames[2], pool)
        assert third.ctypes.data == place
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(third, to_bgr(frames[2], FramePool()))
        assert third.min() > first.max()


def move_pixels(image: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Move pixel by pixel as the matrix says, then shift into view."""
    a, b, c, d = matrix
    height, width = image.shape[:2]
    moved = {
        (a * x + c * y, b * x + d * y): image[y, x] for y in range(height) for x in range(width)
    }
    left, top = min(x for x, _ in moved), min(y for _, y in moved)
    shape = (width, height) if b else (height, width)
    result = np.empty((*shape, 3), np.uint8)
    for (x, y), pixel in moved.items():
        result[y - top, x - left] = pixel
    return result


QUARTER_TURNS = [
    *((a, 0, 0, d) for a, d in product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in product((1, -1), repeat=2)),
]


@pytest.mark.parametrize("matrix", QUARTER_TURNS)
def test_all_eight_orientations(matrix: tuple[int, int, int, int]) -> None:
    """Each turn and mirroring moves every pixel where the matrix maps it."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    before = image.copy()
    scaled = tuple(number << 16 for number in matrix)
    np.testing.assert_array_equal(turn_upright(image, scaled), move_pixels(image, matrix))
    np.testing.assert_array_equal(image, before)


def test_no_matrix_costs_nothing() -> None:
    """Without a display matrix the same array comes back."""
    image = np.zeros((4, 6, 3), np.uint8)
    assert turn_upright(image, None) is image
