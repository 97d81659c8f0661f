import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.kernels.pixelate import pixelate

from support.naive_pixelate import naive_pixelate


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 24), st.integers(0, 2**16))
def test_every_block_has_its_mean(height: int, width: int, side: int, seed: int) -> None:
    """Every pixel becomes the exact mean of its block, rounded half up."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    blocks = np.empty_like(image)
    pixelate(image, side, blocks)
    assert np.array_equal(blocks, naive_pixelate(image, side))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_a_flat_image_stays(value: int) -> None:
    """The means of large blocks neither overflow nor change by rounding."""
    image = np.full((300, 500, 3), value, np.uint8)
    blocks = np.empty_like(image)
    pixelate(image, 200, blocks)
    assert np.array_equal(blocks, image)
