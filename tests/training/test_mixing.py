from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.training.augment import PLAIN
from qlumen.training.data import Dataset
from qlumen.training.mixing import exchange_colours, mix, paste

SIDE = 64
IDENTITY = np.eye(2, 3)


def noise(seed: int, low: int = 80, high: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (SIDE, SIDE, 3)).astype(np.uint8)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    return cv2.circle(mask, (x, y), radius, 1, cv2.FILLED)


def lab_of(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB).reshape(-1, 3)


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_colours_come_from_the_other_image(seed: int) -> None:
    """Means and deviations in LAB equal those of the other image, up to clipping and rounding."""
    image = cv2.add(noise(seed), (0, 10, 20, 0))
    other = cv2.GaussianBlur(noise(seed + 1), (0, 0), 1)
    got, wanted = lab_of(exchange_colours(image, other)), lab_of(other)
    assert np.abs(got.mean(0) - wanted.mean(0)).max() < 1.5
    assert np.abs(got.std(0) - wanted.std(0)).max() < 1.5


def test_dark_surround_keeps_its_colour() -> None:
    """Black stays black, and does not count in the mean of either image."""
    image, other = noise(1), noise(2)
    image[:, :20] = 0
    dark_other = other.copy()
    dark_other[:, :30] = 0
    got = exchange_colours(image, dark_other)
    assert not got[:, :20].any()
    wanted = lab_of(dark_other[:, 30:]).mean(0)
    assert np.abs(lab_of(got[:, 20:]).mean(0) - wanted).max() < 2


def test_own_colours_change_nothing() -> None:
    """An exchange of an image with itself changes only the rounding."""
    image = noise(3)
    assert np.abs(exchange_colours(image, image).astype(int) - image).max() <= 1


def test_image_without_light_stays_unchanged() -> None:
    """A black image gives no colours and takes none."""
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    np.testing.assert_array_equal(exchange_colours(noise(4), black), noise(4))
    np.testing.assert_array_equal(exchange_colours(black, noise(4)), black)


def test_piece_is_pasted_where_the_matrix_says() -> None:
    """Pixels deep inside the moved shape show the piece; pixels far outside do not change."""
    image, piece = np.full((SIDE, SIDE, 3), 90, np.uint8), noise(5)
    move = np.array([[1.0, 0, 12], [0, 1, -7]])
    mixed, pasted = paste(image, piece, disc(25, 35, 16), move, match=0.0)
    np.testing.assert_array_equal(pasted, disc(37, 28, 16))
    assert np.abs(mixed[28, 37].astype(int) - piece[35, 25]).max() <= 1
    np.testing.assert_array_equal(mixed[60:, :5], image[60:, :5])


def test_matched_piece_has_the_colour_of_its_place() -> None:
    """With a match of 1 the piece has the mean colour of the covered pixels."""
    image = np.full((SIDE, SIDE, 3), (90, 120, 160), np.uint8)
    shape = disc(32, 32, 20)
    mixed, pasted = paste(image, noise(6, 60, 120), shape, IDENTITY, match=1.0)
    inside = mixed[pasted == 1].astype(float).mean(0)
    assert np.abs(inside - (90, 120, 160)).max() < 2


def test_pasted_lesions_are_in_the_mask_and_decoys_are_not() -> None:
    """Lesions and decoys both occur. The old mask stays, and decoys change only pixels."""
    data = Dataset(
        ("lesion", "free"),
        np.stack([noise(7), np.full((SIDE, SIDE, 3), 150, np.uint8)]),
        np.stack([disc(40, 40, 12), np.zeros((SIDE, SIDE), np.uint8)]),
    )
    always = replace(PLAIN, paste_share=1.0)
    lesions = decoys = 0
    for seed in range(60):
        image, mask = mix(data, 0, np.random.default_rng(seed), always)
        assert (mask >= data.masks[0]).all()
        if mask.sum() > data.masks[0].sum():
            lesions += 1
        elif (image != data.images[0]).any():
            decoys += 1
            covered = (image != data.images[0]).any(axis=2) & (data.masks[0] == 1)
            assert covered.mean() < 0.05
    assert lesions > 10
    assert decoys > 10


@pytest.mark.parametrize("row", [0, 1])
def test_without_shares_nothing_is_drawn(row: int) -> None:
    """The plain recipe changes no image and draws no random number."""
    data = Dataset(("a", "b"), np.stack([noise(8), noise(9)]), np.stack([disc(9, 9, 5)] * 2))
    rng = np.random.default_rng(0)
    image, mask = mix(data, row, rng, PLAIN)
    np.testing.assert_array_equal(image, data.images[row])
    np.testing.assert_array_equal(mask, data.masks[row])
    assert rng.random() == np.random.default_rng(0).random()
