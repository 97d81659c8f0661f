import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.endoscope.privacy import BLOCKS_DOWN, Privacy, Shares
from qlumen.realtime.frames import Condition, Field
from qlumen.realtime.pixels.pool import PREPARED

Image = NDArray[np.uint8]
Hidden = NDArray[np.bool_]


def random_image(rng: np.random.Generator, height: int, width: int) -> Image:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@st.composite
def regions(draw: st.DrawFn) -> Shares:
    """Draw multiples of 1/7, which fall between pixels."""
    x0, y0 = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    x1, y1 = draw(st.integers(x0 + 1, 7)), draw(st.integers(y0 + 1, 7))
    return x0 / 7, y0 / 7, x1 / 7, y1 / 7


def touched_pixels(region: Shares, height: int, width: int) -> Hidden:
    """Return the pixels of which a region covers any part."""
    x0, y0, x1, y1 = region
    rows, columns = np.mgrid[:height, :width]
    across = (columns + 1 > x0 * width) & (columns < x1 * width)
    return across & (rows + 1 > y0 * height) & (rows < y1 * height)


def round_field(height: int, width: int) -> Field:
    """Make a disc in the middle."""
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height / 2, columns - width / 2)
    mask = (away <= min(height, width) / 3).astype(np.uint8)
    mask[height // 2, width // 2] = 1
    y, x = np.nonzero(mask)
    return Field((int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1), mask)


def hidden_pixels(
    chosen: list[Shares], outside: bool, field: Field, height: int, width: int
) -> Hidden:
    hidden = np.zeros((height, width), bool)
    for region in chosen:
        hidden |= touched_pixels(region, height, width)
    if outside:
        inside = np.zeros((height, width), bool)
        x0, y0, x1, y1 = field.box
        inside[y0:y1, x0:x1] = True if field.mask is None else field.mask[y0:y1, x0:x1] > 0
        hidden |= ~inside
    return hidden


CASES = (
    st.lists(regions(), max_size=3), st.booleans(), st.sampled_from(list(Condition)),
    st.booleans(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16),
)  # fmt: skip


@given(*CASES)
def test_no_hidden_byte_matters(
    chosen: list[Shares], outside: bool, condition: Condition, with_mask: bool,
    height: int, width: int, seed: int,
) -> None:  # fmt: skip
    """Two images that differ only in hidden pixels come out the same, and black there."""
    rng = np.random.default_rng(seed)
    whole = Field((0, 0, width, max(1, height // 2)), None)
    field = round_field(height, width) if with_mask else whole
    hidden = hidden_pixels(chosen, outside, field, height, width)
    first = random_image(rng, height, width)
    second = np.where(hidden[..., None], random_image(rng, height, width), first)
    privacy = Privacy(regions=chosen, outside_field=outside, pixelate_outside_body=True)
    results = [privacy(one, field, condition) for one in (first, second)]
    if hidden.any():
        assert np.array_equal(*results)
    assert not results[0][hidden].any()


@given(*CASES)
def test_nothing_is_left_of_earlier_images(
    chosen: list[Shares], outside: bool, condition: Condition, with_mask: bool,
    height: int, width: int, seed: int,
) -> None:  # fmt: skip
    """Arrays are used again, but an image comes out as if it were the first."""
    rng = np.random.default_rng(seed)
    image = random_image(rng, height, width)
    whole = Field((0, 0, width, max(1, height // 2)), None)
    field = round_field(height, width) if with_mask else whole
    first, used = (
        Privacy(regions=chosen, outside_field=outside, pixelate_outside_body=True) for _ in range(2)
    )
    everything = Field((0, 0, width, height), np.ones((height, width), np.uint8))
    kept = [used(np.full_like(image, 255), everything, condition) for _ in range(PREPARED)]
    kept.clear()
    for _ in range(2):
        assert np.array_equal(used(image, field, condition), first(image.copy(), field, condition))


@given(*CASES)
def test_all_else_is_unchanged(
    chosen: list[Shares], outside: bool, condition: Condition, with_mask: bool,
    height: int, width: int, seed: int,
) -> None:  # fmt: skip
    """Without pixelation all bytes that are not hidden are the input's, and the input stays. If
    nothing is hidden, the same object is returned."""
    image = random_image(np.random.default_rng(seed), height, width)
    before = image.copy()
    field = round_field(height, width) if with_mask else Field((0, 0, width, height), None)
    hidden = hidden_pixels(chosen, outside, field, height, width)
    privacy = Privacy(regions=chosen, outside_field=outside, pixelate_outside_body=False)
    result = privacy(image, field, condition)
    assert np.array_equal(image, before)
    assert np.array_equal(result[~hidden], image[~hidden])
    asked = bool(chosen) or (outside and with_mask)
    assert (result is image) == (not asked)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**16))
def test_out_of_body_only_block_means_matter(height: int, width: int, seed: int) -> None:
    """Shuffling the pixels of every block changes nothing, and the height has at most BLOCKS_DOWN
    blocks."""
    rng = np.random.default_rng(seed)
    image = random_image(rng, height, width)
    side = -(-height // BLOCKS_DOWN)
    shuffled = image.copy()
    for top in range(0, height, side):
        for left in range(0, width, side):
            block = shuffled[top : top + side, left : left + side]
            block[:] = rng.permutation(block.reshape(-1, 3)).reshape(block.shape)
    privacy = Privacy(regions=(), outside_field=False, pixelate_outside_body=True)
    field = Field((0, 0, width, height), None)
    first = privacy(image, field, Condition.OUT_OF_BODY)
    assert np.array_equal(first, privacy(shuffled, field, Condition.OUT_OF_BODY))
    assert len(np.unique(np.nonzero(np.diff(first.astype(int), axis=0).any(axis=(1, 2))))) < 8


@pytest.mark.parametrize("condition", [one for one in Condition if one != Condition.OUT_OF_BODY])
def test_in_the_body_nothing_is_pixelated(condition: Condition) -> None:
    """Only OUT_OF_BODY pixelates, and all other images are passed on as the same object."""
    image = random_image(np.random.default_rng(1), 20, 30)
    privacy = Privacy(regions=(), outside_field=True, pixelate_outside_body=True)
    assert privacy(image, Field((0, 0, 30, 20), None), condition) is image


@pytest.mark.parametrize(
    "region", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 1, 1.1)]
)
def test_an_impossible_region_is_refused(region: Shares) -> None:
    """The error names an empty region, or one beyond the frame, before anything runs."""
    with pytest.raises(ConfigError, match=r"privacy region \[.*0 <= x0 < x1 <= 1"):
        Privacy(regions=[region], outside_field=False, pixelate_outside_body=False)


def test_active_only_if_something_can_be_hidden() -> None:
    """Each of the three settings alone makes it active."""
    off = Privacy(regions=(), outside_field=False, pixelate_outside_body=False)
    assert not off.active
    assert Privacy(regions=[(0, 0, 1, 1)], outside_field=False, pixelate_outside_body=False).active
    assert Privacy(regions=(), outside_field=True, pixelate_outside_body=False).active
    assert Privacy(regions=(), outside_field=False, pixelate_outside_body=True).active
