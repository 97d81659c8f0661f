from fractions import Fraction
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError
from qlumen.realtime.segmentation.geometry import Fit, Geometry

from support.strategies import geometries, sizes


def test_letterbox_of_a_full_hd_frame() -> None:
    """A frame of 1920x1080 in 352x352 is 352x198, with 77 rows of margin above and below."""
    geometry = Geometry.of((1920, 1080), (352, 352), "letterbox")
    assert geometry.inner == (0, 77, 352, 275)


def test_uneven_margin_is_smaller_at_the_left() -> None:
    """A 1x2 frame in 7x4 is 2 pixels wide, with margins of 2 and 3."""
    assert Geometry.of((1, 2), (7, 4), "letterbox").inner == (2, 0, 4, 4)


def test_stretch_fills_the_input() -> None:
    """Stretching leaves no margin, whatever the frame."""
    assert Geometry.of((5, 999), (352, 320), "stretch").inner == (0, 0, 352, 320)


@given(frame=sizes(5000), network=sizes(400))
def test_letterbox_touches_two_sides_and_keeps_proportions(
    frame: tuple[int, int], network: tuple[int, int]
) -> None:
    """One side is full, and the other is scaled to half a pixel, and at least 1."""
    geometry = Geometry.of(frame, network, "letterbox")
    scale = min(Fraction(network[0], frame[0]), Fraction(network[1], frame[1]))
    inner = (geometry.inner_w, geometry.inner_h)
    assert inner[0] == network[0] or inner[1] == network[1]
    for size, length in zip(inner, frame, strict=True):
        assert size == 1 or abs(size - length * scale) <= Fraction(1, 2)
    left, top, right, bottom = geometry.inner
    assert 0 <= (network[0] - right) - left <= 1
    assert 0 <= (network[1] - bottom) - top <= 1


@given(geometries(), st.booleans())
def test_axis_map_is_the_half_pixel_formula(geometry: Geometry, across: bool) -> None:
    """Cell and weight add up to (X + 1/2) * n / N - 1/2, and `start` inverts `cell`."""
    axis = geometry.columns() if across else geometry.rows()
    frame, inner = (
        (geometry.frame_w, geometry.inner_w) if across else (geometry.frame_h, geometry.inner_h)
    )
    for index in range(frame):
        position = (index + Fraction(1, 2)) * inner / frame - Fraction(1, 2)
        ours = axis.cell[index] - 1 + float(axis.weight[index])
        assert ours == pytest.approx(float(position), abs=1e-6)
    for cell in range(inner + 2):
        assert axis.start[cell] == np.count_nonzero(axis.cell < cell)


def test_unknown_fit_is_refused_with_the_choice() -> None:
    """The message names the fit that it got and those that can be used."""
    with pytest.raises(ConfigError, match="fit is 'crop'; use 'stretch' or 'letterbox'"):
        Geometry.of((4, 4), (4, 4), cast(Fit, "crop"))


def test_empty_frame_is_refused() -> None:
    """The message names a frame without pixels."""
    with pytest.raises(ConfigError, match="frame of 0x4 pixels is empty"):
        Geometry.of((0, 4), (4, 4), "stretch")
