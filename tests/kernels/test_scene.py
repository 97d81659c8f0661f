import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.scene import (
    FAR_MM,
    SURFACE_FIELDS,
    VERTEX_FIELDS,
    clear,
    draw,
    project,
    ray_table,
)

from support import naive_scene as naive

CAMERA = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FOCAL, HEIGHT, WIDTH = 20.0, 40, 46
MIDDLE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])


def ball(centre: tuple[float, float, float], radius: float, inside: bool) -> np.ndarray:
    """Return a grid over a sphere whose front is its inside or its outside."""
    turn = np.linspace(0.001, np.pi - 0.001, 60)[:, None]
    phi = np.linspace(0, 2 * np.pi, 91)[None] * (-1 if inside else 1)
    out = np.stack([np.sin(turn) * np.cos(phi), np.sin(turn) * np.sin(phi), np.cos(turn) + 0 * phi])
    out = np.moveaxis(out, 0, -1)
    grid = np.zeros((*out.shape[:2], VERTEX_FIELDS), np.float32)
    grid[..., :3] = np.array(centre) + radius * out
    grid[..., 3:6] = -out if inside else out
    grid[..., 9] = radius
    return grid


def render(*grids: tuple[np.ndarray, float], pose: np.ndarray = CAMERA) -> np.ndarray:
    surface = np.empty((HEIGHT, WIDTH, SURFACE_FIELDS), np.float32)
    clear(surface)
    for grid, polyp in grids:
        screen = np.empty_like(grid)
        project(grid, 0, len(grid), pose, FOCAL, MIDDLE, screen)
        draw(screen, 0, len(grid), polyp, surface)
    return surface


def directions() -> np.ndarray:
    return np.array(
        [
            [naive.lens_direction(x - MIDDLE[0], y - MIDDLE[1], FOCAL) for x in range(WIDTH)]
            for y in range(HEIGHT)
        ]
    )


def test_rays_are_those_of_a_stereographic_lens() -> None:
    """A pixel at radius r looks 2 atan(r / 2 f) away from the axis."""
    table = ray_table(HEIGHT, WIDTH, FOCAL, MIDDLE)
    np.testing.assert_allclose(table[..., :3], directions(), atol=1e-6)


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(1, 200))
def test_a_vertex_lands_where_its_ray_points(across: float, down: float, far: float) -> None:
    """A point on a pixel's ray is projected to that pixel, at the point's distance."""
    x, y = across * MIDDLE[0], down * MIDDLE[1]
    grid = np.zeros((1, 1, VERTEX_FIELDS), np.float32)
    grid[0, 0, :3] = far * naive.lens_direction(x, y, FOCAL)
    screen = np.empty_like(grid)
    project(grid, 0, 1, CAMERA, FOCAL, MIDDLE, screen)
    assert screen[0, 0, :3] == pytest.approx([MIDDLE[0] + x, MIDDLE[1] + y, far], rel=1e-4)


def test_ball_behind_the_camera_is_not_drawn() -> None:
    """A ball that is wholly behind the camera leaves the surface empty."""
    surface = render((ball((0, 0, -50), 10, inside=False), 1.0))
    assert (surface[..., 0] == np.float32(FAR_MM)).all()
    assert not surface[..., 9].any()


@pytest.mark.parametrize("centre", [(0, 0, 0), (6, -9, 4)])
def test_a_hollow_ball_is_seen_without_gaps_at_the_right_distance(
    centre: tuple[float, float, float],
) -> None:
    """From inside, the distance of every ray is the root of a quadratic, and normals point back."""
    surface = render((ball(centre, 30, inside=True), 0.0))
    along = directions() @ np.array(centre)
    wanted = along + np.sqrt(along**2 + 30**2 - np.dot(centre, centre))
    np.testing.assert_allclose(surface[..., 0], wanted, rtol=0.01)
    np.testing.assert_allclose(surface[..., 7], 30, rtol=1e-5)
    assert (np.einsum("hwi,hwi->hw", surface[..., 1:4], directions()) < 0).all()


def test_the_nearest_surface_wins_in_any_order() -> None:
    """A ball before a wall hides it, in any drawing order, and a ball behind it is hidden."""
    wall, before = ball((0, 0, 0), 30, inside=True), ball((3, 2, 18), 5, inside=False)
    behind = ball((-4, 0, 50), 5, inside=False)
    grids = [(wall, 0.0), (before, 1.0), (behind, 1.0)]
    one, two = render(*grids), render(*grids[::-1])
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, render(*grids[:2]))


def test_drawing_agrees_with_a_ray_caster() -> None:
    """A moved and turned camera sees the same polyp pixels and distances as the ray caster.

    Only pixels on the outline may differ.
    """
    turn = 0.4
    pose = np.array(
        [[2.0, 1, -3], [np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    )
    wall, polyp = ball((0, 0, 0), 30, inside=True), ball((11, 3, 17), 6, inside=False)
    surface = render((wall, 0.0), (polyp, 1.0), pose=pose)
    corners = [naive.triangles(wall), naive.triangles(polyp)]
    wrong = 0
    for y in range(0, HEIGHT, 3):
        for x in range(0, WIDTH, 3):
            direction = directions()[y, x] @ pose[1:]
            hits = [naive.first_hit(pose[0], direction, part) for part in corners]
            if (hits[1] < hits[0]) != (surface[y, x, 9] > 0.5):
                wrong += 1
            else:
                assert surface[y, x, 0] == pytest.approx(min(hits), rel=0.02)
    assert (surface[::3, ::3, 9] > 0.5).sum() >= 8
    assert wrong <= 2
