import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.scene import FAR_MM, SURFACE_FIELDS, ray_table
from qlumen.kernels.scene_light import (
    TILE_FIELDS,
    TILE_LEVELS,
    exposure,
    lamps_at,
    sample_tile,
    shade,
    tile_field,
)

SIDE, FOCAL = 24, 12.0
RAYS = ray_table(SIDE, SIDE, FOCAL, np.array([11.5, 11.5]))
WHOLE = np.tile(np.array([0, SIDE], np.int32), (SIDE, 1))
GREY = np.array([[0.5] * 3, [0.9, 0.1, 0.1], [0.5] * 3, [0.5] * 3, [1.0] * 3], np.float32)


def pack(fields: np.ndarray) -> np.ndarray:
    """Pack `TILE_FIELDS` bytes into a word, the first byte lowest."""
    shifts = np.arange(TILE_FIELDS, dtype=np.uint64) * np.uint64(8)
    return (fields.astype(np.uint64) << shifts).sum(axis=-1, dtype=np.uint64)


def make_tiles(fields: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pack(fields), (TILE_LEVELS, *fields.shape[:2])).copy()


def plain_tiles() -> np.ndarray:
    fields = np.zeros((16, 16, TILE_FIELDS), np.uint8)
    fields[..., 3:6] = 128
    return make_tiles(fields)


def wall(far: float) -> np.ndarray:
    """Return a surface at one distance that faces the camera but does not mirror it."""
    surface = np.zeros((SIDE, SIDE, SURFACE_FIELDS), np.float32)
    surface[..., 0] = far
    surface[..., 1:4] = -RAYS[..., :3] + np.array([0.9, 0.9, 0.0])
    surface[..., 7] = 1.0
    return surface


def render(surface: np.ndarray, gain: float, tiles: np.ndarray | None = None) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    cover = np.zeros((SIDE, SIDE), np.uint8)
    tiles = plain_tiles() if tiles is None else tiles
    shade(surface, RAYS, WHOLE, tiles, gain, FOCAL, GREY, image, cover)
    return image


@given(
    st.integers(0, 2**32 - 1),
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.integers(0, 3),
)
def test_texture_samples_are_bilinear_and_repeat(seed: int, u: float, v: float, level: int) -> None:
    """Samples equal four taps in floating point, within the eight bits of the weights."""
    fields = np.random.default_rng(seed).integers(0, 256, (16, 16, TILE_FIELDS), np.uint8)
    even, odd = sample_tile(make_tiles(fields), level, u, v)
    size = 16 >> level
    x, y = (u % 1) * size, (v % 1) * size
    rows, columns = np.array([int(y), int(y) + 1]) % size, np.array([int(x), int(x) + 1]) % size
    weights = np.outer([1 - y % 1, y % 1], [1 - x % 1, x % 1])
    wanted = np.einsum("ij,ijk->k", weights, fields[np.ix_(rows, columns)] / 255)
    got = [tile_field(np.uint64((even, odd)[k % 2]), k // 2) for k in range(TILE_FIELDS)]
    np.testing.assert_allclose(got, wanted, atol=0.013)


@given(st.floats(1, 150), st.floats(1.05, 3))
def test_light_falls_off_with_distance(far: float, times: float) -> None:
    """Light falls with distance; far from the lens it falls at least by the inverse square."""
    assert lamps_at(times * far) < lamps_at(far)
    if far > 40:
        assert lamps_at(times * far) < 1.05 * lamps_at(far) / times**2


def test_exposure_lets_near_and_far_walls_look_alike() -> None:
    """A wall four times as far gets 16 times less light, but looks hardly darker."""
    near, far = wall(20), wall(80)
    gains = exposure(near, RAYS, WHOLE), exposure(far, RAYS, WHOLE)
    assert gains[1] > 8 * gains[0]
    light = [render(w, g).mean() for w, g in zip((near, far), gains, strict=True)]
    assert 0.6 * light[0] < light[1] <= light[0]


def test_nothing_drawn_is_nearly_black() -> None:
    """The far lumen keeps only the lens's flare."""
    image = render(wall(FAR_MM), 500.0)
    assert 0 < image.max() < 40
    assert image.min() == image.max()


def test_redness_vessels_and_pits_colour_the_wall() -> None:
    """Redness raises red and lowers green; a vessel or a pit of a polyp darkens the wall."""
    fields = np.zeros((16, 16, TILE_FIELDS), np.uint8)
    fields[..., 3:6] = 128
    fields[..., 0] = fields[..., 2] = 255
    inflamed, vessel, pit = wall(25), wall(25), wall(25)
    inflamed[..., 6] = 1.0
    vessel[..., 8], pit[..., 8] = 1.0, -1.0
    blank, red = render(wall(25), 300.0), render(inflamed, 300.0)
    assert red[..., 2].mean() > blank[..., 2].mean()
    assert red[..., 1].mean() < blank[..., 1].mean()
    for marked in (vessel, pit):
        assert (render(marked, 300.0, make_tiles(fields)) < blank).all()


def test_a_wet_wall_mirrors_the_lamps_where_it_faces_them() -> None:
    """Highlights saturate in the middle of a wall seen head-on, and not near its rim."""
    surface = wall(30)
    surface[..., 1:4] = (0, 0, -1)
    image = render(surface, 900.0)
    assert image[11:13, 11:13].min() > 240
    assert image[0].max() < 200


@pytest.mark.parametrize("span", [(0, 0), (3, 9), (0, SIDE)])
def test_only_the_spans_are_filled(span: tuple[int, int]) -> None:
    """Image and cover keep their values outside the spans; the cover is 255 on polyps."""
    surface = wall(20)
    surface[:12, :, 9] = 1.0
    image = np.full((SIDE, SIDE, 3), 7, np.uint8)
    cover = np.full((SIDE, SIDE), 7, np.uint8)
    spans = np.tile(np.array(span, np.int32), (SIDE, 1))
    shade(surface, RAYS, spans, plain_tiles(), 300.0, FOCAL, GREY, image, cover)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[:, span[0] : span[1]] = True
    assert (image[~inside] == 7).all()
    assert (cover[~inside] == 7).all()
    assert (cover[:12][inside[:12]] == 255).all()
    assert (cover[12:][inside[12:]] == 0).all()
