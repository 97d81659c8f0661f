import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.training.artefacts import add_bubbles, add_comb, add_highlights, add_surround

SIDE = 96
SEEDS = st.integers(0, 10_000)


def scene(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(60, 140, (SIDE, SIDE, 3)).astype(np.float32)


@given(SEEDS)
@settings(max_examples=30)
def test_highlights_and_bubbles_only_brighten(seed: int) -> None:
    """No pixel gets darker or leaves the range, and most pixels do not change."""
    image = scene(seed)
    for add in (add_highlights, add_bubbles):
        lit = add(image, np.random.default_rng(seed))
        assert (lit >= image - 1e-3).all()
        assert lit.max() <= 255
        assert np.mean(lit - image > 20) < 0.5
    assert np.median(np.abs(lit - image)) < 5


def test_highlights_are_seen() -> None:
    """Highlights reach the brightness of a mirror reflection in nearly every image."""
    brightest = [add_highlights(scene(i), np.random.default_rng(i)).max() for i in range(30)]
    assert np.mean(np.array(brightest) > 190) > 0.8


@given(SEEDS)
def test_nothing_is_reflected_in_the_dark_surround(seed: int) -> None:
    """A black image stays black."""
    black = np.zeros((SIDE, SIDE, 3), np.float32)
    assert not add_highlights(black, np.random.default_rng(seed)).any()
    assert not add_bubbles(black, np.random.default_rng(seed)).any()


@given(SEEDS)
def test_comb_moves_every_second_row(seed: int) -> None:
    """Even rows stay, and all odd rows move by the same number of pixels."""
    image = scene(seed)
    combed = add_comb(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(combed[::2], image[::2])
    shifts = [
        {s for s in range(-4, 5) if np.array_equal(np.roll(image[row], s, axis=0), combed[row])}
        for row in range(1, SIDE, 2)
    ]
    assert len(set.intersection(*shifts)) == 1
    assert 0 not in set.intersection(*shifts)


@given(SEEDS)
@settings(max_examples=60)
def test_surround_covers_the_same_pixels_of_image_and_mask(seed: int) -> None:
    """The image stays visible inside the new mask, except for marks, and is hidden outside."""
    image = scene(seed)
    mask = np.ones((SIDE, SIDE), np.uint8)
    surrounded, left = add_surround(image, mask, np.random.default_rng(seed))
    untouched = (surrounded == image).all(axis=2)
    assert np.mean(untouched[left == 1]) > 0.6
    assert not untouched[left == 0].any()
    assert 0.2 < left.mean() < 1
    assert surrounded.min() >= 0
    assert surrounded.max() <= 255


def test_surrounds_have_the_three_shapes() -> None:
    """Some surrounds cut off the corners, and others only the margins."""
    mask = np.ones((SIDE, SIDE), np.uint8)
    shares = [
        add_surround(scene(i), mask, np.random.default_rng(i))[1][: SIDE // 2].mean()
        for i in range(60)
    ]
    assert min(shares) < 0.75 < max(shares)
