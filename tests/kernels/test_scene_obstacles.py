import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.scene import FAR_MM, SURFACE_FIELDS, ray_table
from qlumen.kernels.scene_light import TILE_LEVELS, WRAP, shade
from qlumen.kernels.scene_obstacles import (
    MATTER_FIELDS,
    RIM_OPACITY,
    draw_bubble,
    draw_bubbles,
    shade_matter,
)

HEIGHT, WIDTH, FOCAL = 24, 30, 15.0
MIDDLE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
SPANS = np.array([[0, WIDTH]] * HEIGHT, np.int32)
CAMERA = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
EVEN_TEXEL = sum(128 << 8 * place for place in (1, 3, 4, 5))
"""Texture without vessels, pits and foam, with even colour and relief."""


def wall(far: float, owner: float) -> np.ndarray:
    """Return a surface that faces the camera at one distance, in the left half of the image."""
    surface = np.zeros((HEIGHT, WIDTH, SURFACE_FIELDS), np.float32)
    surface[..., 0] = FAR_MM
    left = surface[:, : WIDTH // 2]
    left[..., 0], left[..., 3], left[..., 7], left[..., 9] = far, -1.0, 1.0, owner
    return surface


def tiles() -> np.ndarray:
    return np.full((TILE_LEVELS, 16, 16), EVEN_TEXEL, np.uint64)


@given(st.floats(8, 80), st.floats(100, 2000), st.tuples(*[st.floats(0.02, 1)] * 3))
def test_matter_is_lit_like_mucosa_of_its_colour(
    far: float, gain: float, colour: tuple[float, float, float]
) -> None:
    """Matter with one colour, dull to the same degree, looks as the wall does in that colour."""
    rays = ray_table(HEIGHT, WIDTH, FOCAL, MIDDLE)
    palette = np.ones((5, 3), np.float32)
    palette[:2] = colour
    images = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    cover = np.zeros((HEIGHT, WIDTH), np.uint8)
    shade(wall(far, 0.0), rays, SPANS, tiles(), gain, FOCAL, palette, images[0], cover)
    matters = np.zeros((2, MATTER_FIELDS), np.float32)
    matters[1] = [*colour, *colour, 1.0, 1.0, WRAP, 0.0]
    shade_matter(wall(far, -2.0), rays, SPANS, tiles(), gain, FOCAL, matters, images[1])
    left = images[:, :, : WIDTH // 2].astype(int)
    assert np.abs(left[0] - left[1]).max() <= 1


@given(st.integers(-1, 3))
def test_matter_is_all_that_is_changed(owner: int) -> None:
    """The wall and polyps keep their colour; matter gets its own."""
    image = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)
    matters = np.full((1, MATTER_FIELDS), 0.5, np.float32)
    rays = ray_table(HEIGHT, WIDTH, FOCAL, MIDDLE)
    shade_matter(wall(20.0, owner), rays, SPANS, tiles(), 500.0, FOCAL, matters, image)
    assert (image[:, WIDTH // 2 :] == 7).all()
    assert (image[:, : WIDTH // 2] == 7).all() == (owner >= 0)


@given(st.floats(4, 20), st.floats(4, 20), st.floats(0.5, 9), st.floats(0, 1))
def test_a_bubble_hides_a_disc(x: float, y: float, radius: float, film: float) -> None:
    """What is seen through it is film in the middle and less at the rim, by the same formula
    over all pixels; outside the disc nothing changes."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    seen = np.full((HEIGHT, WIDTH), 255, np.uint8)
    draw_bubble(x, y, radius, film, 200.0, 0.0, wall(20.0, 0.0), image, seen)
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    away = np.hypot(across - x, down - y)
    edge = np.clip(radius - away + 0.5, 0, 1) if radius >= 0.6 else 0 * away
    rim = np.minimum(away / radius, 1.0) ** 8
    wanted = 255 * (1 - edge * (film + (1 - film) * RIM_OPACITY * rim))
    np.testing.assert_allclose(seen, wanted, atol=1.01)
    assert (image[edge == 0] == 90).all()


@pytest.mark.parametrize(("far", "shown"), [(10.0, True), (30.0, False)])
def test_a_bubble_behind_the_wall_is_hidden(far: float, shown: bool) -> None:
    """A bubble 20 mm ahead shows before a wall further away only, and at the place of its ray."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    seen = np.full((HEIGHT, WIDTH), 255, np.uint8)
    bubbles = np.array([[-4.0, 0.0, 20.0, 1.5, 0.9]])
    draw_bubbles(bubbles, CAMERA, 500.0, FOCAL, MIDDLE, wall(40 - far, 0.0), image, seen)
    assert (seen < 255).any() == shown
    if shown:
        column = np.argwhere(seen < 128)[:, 1].mean()
        angle = np.arctan2(4.0, 20.0)
        assert column == pytest.approx(MIDDLE[0] - 2 * FOCAL * np.tan(angle / 2), abs=0.5)
