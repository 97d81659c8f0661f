import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.kernels.blend import blend_parts

from support import naive


@settings(deadline=None)
@given(st.integers(0, 256), st.integers(0, 255), st.integers(0, 2**16))
def test_blending_rounds_half_up(alpha_256: int, colour: int, seed: int) -> None:
    """Every 8-bit value becomes the exact weighted mean, rounded half up."""
    image = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    parts = np.random.default_rng(seed).integers(0, 2, (16, 16)).astype(np.uint8)
    keep = np.array([256, 256 - alpha_256], np.int32)
    add = np.array([[0] * 3, [colour * alpha_256 + 128] * 3], np.int32)
    mixed, todo = image.copy(), parts.copy()
    blend_parts(mixed, 0, 0, todo, keep, add, 0, 0, 16, 16)
    expected = np.array([naive.blend(value, colour, alpha_256) for value in range(256)])
    blended = np.repeat(expected, 3).reshape(16, 16, 3)
    np.testing.assert_array_equal(mixed, np.where(parts[..., None], blended, image))
    assert not todo.any()


def test_box_is_half_open() -> None:
    """Pixels right of and below the box stay unchanged, and so do their parts."""
    image, parts = np.zeros((3, 3, 3), np.uint8), np.ones((3, 3), np.uint8)
    keep, add = np.zeros(2, np.int32), np.full((2, 3), 255 * 256, np.int32)
    blend_parts(image, 0, 0, parts, keep, add, 0, 1, 2, 3)
    assert image[..., 0].tolist() == [[0, 0, 0], [255, 255, 0], [255, 255, 0]]
    assert parts.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]


def test_patch_of_an_image_is_blended_like_the_image() -> None:
    """A patch that holds only the box ends up equal to the box of the whole image."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (9, 8, 3), np.uint8)
    parts = rng.integers(0, 2, (9, 8)).astype(np.uint8)
    keep, add = np.array([256, 100], np.int32), np.array([[0] * 3, [7000] * 3], np.int32)
    box, patch, todo = (2, 3, 7, 8), image[3:8, 2:7].copy(), parts.copy()
    blend_parts(patch, 2, 3, todo, keep, add, *box)
    blend_parts(image, 0, 0, parts, keep, add, *box)
    np.testing.assert_array_equal(patch, image[3:8, 2:7])
    np.testing.assert_array_equal(todo, parts)
