import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.scene_sensor import cut_out, finish


@st.composite
def spans(draw: st.DrawFn, height: int, width: int) -> np.ndarray:
    ends = st.tuples(st.integers(0, width), st.integers(0, width)).map(sorted)
    return np.array(draw(st.lists(ends, min_size=height, max_size=height)), np.int32)


def inside(of: np.ndarray, width: int) -> np.ndarray:
    columns = np.arange(width)[None]
    return (columns >= of[:, :1]) & (columns < of[:, 1:])


@given(st.data(), st.integers(1, 20), st.integers(1, 40), st.integers(0, 7), st.integers(0, 7))
def test_finish_adds_the_tile_inside_and_blackens_outside(
    data: st.DataObject, height: int, width: int, top: int, left: int
) -> None:
    """The result equals that of NumPy with a repeated, rolled tile and clipping."""
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    grain = rng.integers(-128, 128, (8, 8, 3), np.int8)
    field = data.draw(spans(height, width))
    tile = np.roll(grain, (-top, -left), axis=(0, 1)).astype(int)
    noise = np.tile(tile, (height // 8 + 1, width // 8 + 1, 1))[:height, :width]
    wanted = np.where(inside(field, width)[..., None], np.clip(image + noise, 0, 255), 0)
    finish(image, field, grain, top, left)
    np.testing.assert_array_equal(image, wanted)


@given(st.data(), st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 5))
def test_cut_out_is_half_cover_within_the_field(
    data: st.DataObject, height: int, width: int, left: int, top: int
) -> None:
    """The mask is 1 where the cover is over 127 and the field shows it, 0 elsewhere."""
    shape = (height + top + 3, width + left + 2)
    cover = np.random.default_rng(height + 20 * width).integers(0, 256, (height, width), np.uint8)
    field = data.draw(spans(*shape))
    whole = np.zeros(shape, np.uint8)
    whole[top : top + height, left : left + width] = cover
    truth = np.zeros(shape, np.uint8)
    cut_out(cover, field, left, top, truth)
    np.testing.assert_array_equal(truth, (whole > 127) & inside(field, shape[1]))
