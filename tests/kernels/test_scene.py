import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.scene import FAR_MM, fast_angle, march, ray

STRAIGHT = np.zeros((100, 2), np.float32)
CAMERA = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


PIXEL = 2 / 90
"""Slope between neighbouring rays of a grid of 90 rows."""


def whole(height: int, width: int) -> np.ndarray:
    return np.tile(np.array([0, width], np.int32), (height, 1))


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_fast_angle_is_the_angle(y: float, x: float) -> None:
    """As a share of a turn, to a ten-thousandth."""
    if math.hypot(x, y) > 1e-6:
        wanted = math.atan2(y, x) / math.tau % 1
        away = abs(fast_angle(y, x) - wanted)
        assert min(away, 1 - away) < 3e-4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (9, 16), (40, 30)])
def test_rays_meet_a_smooth_tube_where_geometry_says(height: int, width: int) -> None:
    """In a straight tube of radius 20 a ray's way is 20 over the sine of its angle."""
    radius = np.full((100, 64), 20, np.float32)
    hits = np.empty((height, width, 4), np.float32)
    march(radius, STRAIGHT, 1.0, CAMERA, whole(height, width), hits)
    for row in range(height):
        for column in range(width):
            dx, dy, dz = ray(CAMERA, row, column, height, width)
            across = math.hypot(dx, dy)
            way = min(20 / across, FAR_MM) if across else FAR_MM
            z, x, y, t = hits[row, column]
            if way < FAR_MM:
                assert t == pytest.approx(way, rel=0.02)
                assert math.hypot(x, y) == pytest.approx(20, abs=0.3)
                assert (x, y, z) == pytest.approx((t * dx, t * dy, t * dz), abs=1e-3)
            else:
                assert t >= 0.95 * FAR_MM


def test_a_fold_hides_what_lies_behind_it() -> None:
    """Rays that would meet the wall behind a fold that leaves a radius of 8 stop at the fold."""
    fold = 12 * np.exp(-(((np.arange(200) - 40) / 3) ** 2))
    radius = np.tile((20 - fold).astype(np.float32)[:, None], (1, 64))
    hits = np.empty((90, 90, 4), np.float32)
    march(radius, np.zeros((200, 2), np.float32), 1.0, CAMERA, whole(90, 90), hits)
    across = np.hypot(hits[..., 1], hits[..., 2])
    beyond = hits[..., 0] > 50
    slope = across / hits[..., 0]
    assert beyond.any()
    assert slope[beyond].max() < 8 / 40 + 2 * PIXEL


def test_only_the_asked_columns_are_written() -> None:
    """Rows with an empty span, and columns outside one, keep what they held."""
    hits = np.full((20, 20, 4), -7, np.float32)
    spans = whole(20, 20)
    spans[:10] = 0
    spans[10:] = (5, 9)
    march(np.full((100, 64), 20, np.float32), STRAIGHT, 1.0, CAMERA, spans, hits)
    written = (hits != -7).all(axis=2)
    assert written[10:, 5:9].all()
    assert written.sum() == 40
