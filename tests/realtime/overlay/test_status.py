"""Tests that marks change only their plates, and show the state."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.frames import AiState, Condition, LiveState
from qlumen.realtime.overlay.status import draw_marks, make_marks
from qlumen.realtime.pixels.annotated import Annotated
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import to_video_frame

from support.media import planes_of

STATES = st.builds(
    LiveState,
    ai=st.sampled_from(AiState),
    annotated_frame=st.none() | st.just(3),
    annotation_age_ms=st.none() | st.floats(0, 1e6),
    condition=st.sampled_from(Condition),
    tracks=st.just(()),
    recording=st.booleans(),
    signal=st.booleans(),
)


SMOOTHING_LEVELS, EDGE_PIXELS = 64, 10
NORMAL = LiveState(AiState.ON, 1, 40.0, Condition.CLEAR, (), recording=False, signal=True)


@given(STATES, st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_pixels_outside_of_the_returned_boxes_keep_their_bits(
    state: LiveState, width: int, height: int, flash: bool
) -> None:
    """Pixels outside the boxes stay as they are at any frame size, also smaller than a plate."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    drawn = image.copy()
    outside = np.ones((height, width), bool)
    for x0, y0, x1, y1 in draw_marks(drawn, state, flash=flash):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        outside[y0:y1, x0:x1] = False
    assert np.array_equal(drawn[outside], image[outside])


LOOKS: dict[str, dict[str, Any]] = {
    "on": {},
    "older": {"annotation_age_ms": 90.0},
    "late": {"ai": AiState.LATE},
    "off": {"ai": AiState.OFF},
    "hidden": {"overlay": False},
    "recording": {"recording": True},
    "no-signal": {"signal": False},
    "blurred": {"condition": Condition.BLURRED},
    "red-out": {"condition": Condition.RED_OUT},
}


def look(name: str) -> Image:
    """Draw the status of that name on a flat background."""
    image = np.full((360, 640, 3), 90, np.uint8)
    draw_marks(image, replace(NORMAL, **LOOKS[name]))
    return image


def read_reviewed(name: str) -> Image:
    return cv2.imread(str(Path(__file__).parent / "looks" / f"{name}.png"))


def count_differences(one: Image, other: Image) -> int:
    """Count the pixels that differ by more than the smoothing of letters does."""
    return int((cv2.absdiff(one, other).max(axis=-1) > SMOOTHING_LEVELS).sum())


@pytest.mark.parametrize("name", LOOKS)
def test_each_state_looks_as_reviewed(name: str) -> None:
    """Each state looks like its reviewed image, except how OpenCV's version smooths letters, and
    much less like the image of any other state."""
    assert count_differences(look(name), read_reviewed(name)) < EDGE_PIXELS
    for other in LOOKS.keys() - {name}:
        assert count_differences(look(name), read_reviewed(other)) > 2 * EDGE_PIXELS, other


@given(STATES, st.integers(1, 200), st.integers(1, 200), st.booleans())
def test_patches_of_the_state_look_like_the_state_drawn_on_the_image(
    state: LiveState, columns: int, rows: int, flash: bool
) -> None:
    """Patches over decoded planes give the image with the marks drawn on it, and what is recorded
    of them is that image converted as a whole."""
    planes = planes_of(np.random.default_rng(0), 2 * columns, 2 * rows)
    drawn = planes.bgr().copy()
    outside = np.ones(drawn.shape[:2], bool)
    for x0, y0, x1, y1 in draw_marks(drawn, state, flash=flash):
        outside[y0:y1, x0:x1] = False
    marks = tuple(make_marks(planes.size, state, flash=flash))
    annotated = Annotated(planes, marks, FramePool())
    np.testing.assert_array_equal(annotated.bgr(), drawn)
    recorded, whole, bare = (
        video.to_ndarray()[: 2 * rows]
        for video in (annotated.yuv420p(), to_video_frame(drawn), planes.frame)
    )
    np.testing.assert_array_equal(recorded, np.where(outside, bare, whole))
    chroma = annotated.yuv420p().to_ndarray()[2 * rows :].reshape(2, rows, columns)
    expected = to_video_frame(drawn).to_ndarray()[2 * rows :].reshape(2, rows, columns)
    inside = ~outside[::2, ::2]
    np.testing.assert_array_equal(chroma[:, inside], expected[:, inside])


def test_a_flash_surrounds_the_whole_frame() -> None:
    """All four edges change, and the middle does not."""
    image = np.zeros((360, 640, 3), np.uint8)
    draw_marks(image, NORMAL, flash=True)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.any(axis=-1).all()
    assert not image[150:200, 200:400].any()
