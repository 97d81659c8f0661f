"""Marks change nothing but their plates, and say what the state is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.frames import AiState, Condition, LiveState
from qlumen.realtime.overlay.status import draw_marks

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


NORMAL = LiveState(AiState.ON, 1, 40.0, Condition.CLEAR, (), recording=False, signal=True)


@given(STATES, st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_pixels_outside_of_the_returned_boxes_keep_their_bits(
    state: LiveState, width: int, height: int, flash: bool
) -> None:
    """At any frame size, also ones smaller than a plate."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    drawn = image.copy()
    outside = np.ones((height, width), bool)
    for x0, y0, x1, y1 in draw_marks(drawn, state, flash=flash):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        outside[y0:y1, x0:x1] = False
    assert np.array_equal(drawn[outside], image[outside])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ai": AiState.ON}, {"ai": AiState.OFF}),
        ({"ai": AiState.ON}, {"ai": AiState.LATE}),
        ({"annotation_age_ms": 40.0}, {"annotation_age_ms": 90.0}),
        ({"recording": False}, {"recording": True}),
        ({"signal": True}, {"signal": False}),
        ({"condition": Condition.BLURRED}, {"condition": Condition.RED_OUT}),
    ],
)
def test_each_state_looks_different(first: dict[str, Any], second: dict[str, Any]) -> None:
    """What must be told apart at a glance is drawn differently."""
    pictures = [np.full((360, 640, 3), 90, np.uint8) for _ in range(2)]
    for picture, changes in zip(pictures, (first, second), strict=True):
        draw_marks(picture, replace(NORMAL, **changes))
    assert not np.array_equal(*pictures)


def test_a_flash_frames_the_whole_picture() -> None:
    """All four edges change, and nothing in the middle."""
    image = np.zeros((360, 640, 3), np.uint8)
    draw_marks(image, NORMAL, flash=True)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert edge.any(axis=-1).all()
    assert not image[150:200, 200:400].any()
