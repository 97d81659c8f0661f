"""Checks propagated outlines on motions that are known."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.realtime.annotation.propagate import (
    FLOW_PX,
    Propagated,
    propagate,
    signed_distances,
)
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.tracking.motion import Motion

SIZE = 256


def texture(seed: int) -> NDArray[np.uint8]:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), 3)
    return np.clip(128 + 700 * noise, 0, 255).astype(np.uint8)


def disc(x: float, y: float, radius: float = 30) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def translate(step: float, count: int) -> tuple[list[NDArray[np.uint8]], list[Mask]]:
    """Return images that move to the right, and a disc that moves with them."""
    image, masks, images = texture(0), [], []
    for index in range(count):
        move = np.array([[1, 0, index * step], [0, 1, 0]], np.float32)
        images.append(cv2.warpAffine(image, move, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT))
        masks.append(disc(90 + index * step, 128).astype(np.uint8))
    return images, masks


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def unlike_images() -> list[NDArray[np.uint8]]:
    """Return faint images that do not belong together: motion is lost, but they are no cut."""
    return [(128 + (texture(seed).astype(int) - 128) // 8).astype(np.uint8) for seed in (4, 5)]


def test_disc_that_moves_is_followed() -> None:
    """SEEDS 19 d: Dice 0.99 or more with one key, and with one at each end."""
    images, masks = translate(2.0, 12)
    for keys in ({0: masks[0]}, {11: masks[11]}, {0: masks[0], 11: masks[11]}):
        found = dict(propagate(images, keys))
        assert sorted(found) == [i for i in range(12) if i not in keys]
        assert min(dice(one.lesions > 0, masks[i] > 0) for i, one in found.items()) >= 0.99
        two = len(keys) == 2
        assert all((one.disagreement is not None) == two for one in found.values())
        assert not two or max(one.disagreement or 0 for one in found.values()) < 0.05


def test_still_image_copies_each_pixel() -> None:
    images = [texture(1)] * 5
    mask = (2 * disc(100, 90, 17) + disc(180, 180, 9)).astype(np.uint8)
    for keys in ({0: mask}, {2: mask}, {0: mask, 4: mask}):
        found = dict(propagate(images, keys))
        assert len(found) == 5 - len(keys)
        assert all(np.array_equal(one.lesions, mask) for one in found.values())


def test_nothing_crosses_a_cut() -> None:
    images = [texture(1)] * 3 + [255 - texture(2) // 2] * 3
    mask = disc(128, 128).astype(np.uint8)
    assert sorted(dict(propagate(images, {1: mask}))) == [0, 2]
    found = dict(propagate(images, {1: mask, 4: np.zeros_like(mask)}))
    assert sorted(found) == [0, 2, 3, 5]
    assert found[2].lesions.any()
    assert not found[3].lesions.any()
    assert all(one.disagreement is None for one in found.values())


def test_lesion_of_one_key_lasts_to_the_middle() -> None:
    images, mask = [texture(3)] * 7, disc(128, 128).astype(np.uint8)
    found = dict(propagate(images, {0: mask, 6: np.zeros_like(mask)}))
    assert [bool(found[i].lesions.any()) for i in range(1, 6)] == [True, True, True, False, False]


def test_network_counts_where_motion_is_lost_and_only_near_the_outline() -> None:
    images = unlike_images()
    key, larger = disc(128, 128, 30), disc(128, 128, 36)
    maps = {1: np.where(larger | disc(40, 40, 12), 0.9, 0.1).astype(np.float32)}
    (_, alone), *_ = propagate(images, {0: key.astype(np.uint8)})
    (_, mixed), *_ = propagate(images, {0: key.astype(np.uint8)}, maps.get)
    assert dice(alone.lesions > 0, larger) < 0.9
    assert dice(mixed.lesions > 0, larger) > 0.93
    assert not mixed.lesions[disc(40, 40, 20)].any()


def test_network_changes_nothing_where_motion_is_sure_or_where_it_sees_nothing() -> None:
    key = disc(128, 128, 30).astype(np.uint8)
    larger = {1: disc(128, 128, 36).astype(np.float32)}
    (_, sure), *_ = propagate([texture(4)] * 2, {0: key}, larger.get)
    assert np.array_equal(sure.lesions, key)
    images, nothing = unlike_images(), {1: np.zeros((64, 64), np.float32)}
    (_, alone), *_ = propagate(images, {0: key})
    (_, mixed), *_ = propagate(images, {0: key}, nothing.get)
    assert np.array_equal(mixed.lesions, alone.lesions)


def test_frame_larger_than_its_thumbnail() -> None:
    images, _ = translate(2.0, 4)
    motion = Motion(FLOW_PX)
    large = [cv2.resize(image, (SIZE * 4, SIZE * 4)) for image in images]
    small = [motion.reduce(BgrImage(cv2.cvtColor(one, cv2.COLOR_GRAY2BGR))) for one in large]
    assert small[0].shape == (FLOW_PX, FLOW_PX)
    rows, columns = np.mgrid[: SIZE * 4, : SIZE * 4]
    truth = [(columns - 360 - 8 * i) ** 2 + (rows - 512) ** 2 <= 120**2 for i in range(4)]
    found: dict[int, Propagated] = dict(propagate(small, {0: truth[0].astype(np.uint8)}))
    assert min(dice(found[i].lesions > 0, truth[i]) for i in (1, 2, 3)) >= 0.99


def test_distances_are_those_of_scipy() -> None:
    inside = disc(60, 70, 20) | disc(180, 90, 35)
    ours = signed_distances(inside)
    theirs = np.where(
        inside,
        0.5 - ndimage.distance_transform_edt(inside),
        ndimage.distance_transform_edt(~inside) - 0.5,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_bad_keys_are_refused() -> None:
    images, mask = [texture(1)] * 2, np.zeros((SIZE, SIZE), np.uint8)
    with pytest.raises(ValueError, match="beyond the last frame 1"):
        list(propagate(images, {2: mask}))
    with pytest.raises(ValueError, match="differ in size"):
        list(propagate(images, {0: mask, 1: mask[1:]}))
