import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.reduce import reduce

from support.media import planes_of


@given(st.integers(0, 2**16), st.integers(1, 9), st.integers(1, 9), st.integers(0, 40))
def test_each_pixel_is_the_mean_of_four(seed: int, width: int, height: int, more: int) -> None:
    """Each pixel is the mean of the four in the middle of its quarters, rounded half up.

    This holds if the box is more than twice as large.
    """
    rows, columns = 2 * height + 1 + more, 2 * width + 1 + more // 2
    image = np.random.default_rng(seed).integers(0, 256, (rows + 2, columns + 3, 3), np.uint8)
    small = reduce(BgrImage(image), (3, 2, 3 + columns, 2 + rows), (width, height))
    for y, x in np.ndindex(height, width):
        four = [
            image[2 + int((y + v) * rows / height), 3 + int((x + u) * columns / width)]
            for v in (0.25, 0.75) for u in (0.25, 0.75)
        ]  # fmt: skip
        assert small[y, x].tolist() == ((np.sum(four, axis=0, dtype=int) + 2) // 4).tolist()


@pytest.mark.parametrize("size", [(40, 30), (31, 30), (40, 11), (16, 12), (3, 2), (1, 1)])
def test_planes_and_their_bgr_give_the_same_bits(size: tuple[int, int]) -> None:
    """Both forms agree, also if few or no pixels are left out."""
    planes = planes_of(np.random.default_rng(0), 48, 34)
    box = (4, 2, 44, 32)
    small = reduce(planes, box, size)
    assert small.shape == (*size[::-1], 3)
    assert np.array_equal(small, reduce(BgrImage(planes.bgr()), box, size))
