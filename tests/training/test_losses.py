import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from qlumen.training.losses import (
    LOSSES,
    bce_dice,
    border_weights,
    dice_per_image,
    finds_something,
    presence_loss,
    soft_dice_loss,
    structure,
    tversky,
    tversky_loss,
)


def random_case(seed: int, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.standard_normal((2, 1, side, side)), (0, 0, 4, 4))
    masks = torch.from_numpy((blobs > 0.02).astype(np.float32))
    return torch.from_numpy(rng.standard_normal((2, 1, side, side)).astype(np.float32)), masks


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_border_weights_are_those_of_a_box_filter(seed: int) -> None:
    """The weights equal those from SciPy's mean over 31x31 with zeros outside."""
    _, masks = random_case(seed)
    means = ndimage.uniform_filter(masks.numpy().astype(float), (1, 1, 31, 31), mode="constant")
    wanted = 1 + 5 * np.abs(means - masks.numpy())
    np.testing.assert_allclose(border_weights(masks).numpy(), wanted, atol=1e-4)


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_structure_weighs_pixel_by_pixel(seed: int) -> None:
    """The cross-entropy equals each image's weighted mean in numpy, not the plain mean."""
    logits, masks = random_case(seed)
    x, y = logits.numpy().astype(float), masks.numpy().astype(float)
    weights = border_weights(masks).numpy().astype(float)
    entropy = np.logaddexp(0, x) - x * y
    each = (entropy * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
    dice = float(structure(logits, masks)) - float(each.mean())
    assert dice == pytest.approx(float(soft_dice_loss(logits, masks)), abs=1e-4)
    assert np.abs(each - entropy.mean((1, 2, 3))).max() > 1e-5


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=15)
def test_presence_takes_the_strongest_pixels_of_each_region(seed: int, free: bool) -> None:
    """The loss equals that of numpy's largest logits, with SciPy's dilation as the border."""
    logits, masks = random_case(seed, side=96)
    masks[:, :, :50] = 0
    masks[0] *= not free
    lesion, background = [], []
    for x, y in zip(logits[:, 0].numpy().astype(float), masks[:, 0].numpy(), strict=True):
        far = ~ndimage.binary_dilation(y > 0, np.ones((31, 31)))
        background.append(np.logaddexp(0, np.sort(x[far])[-9:]).mean())  # 0.1% of 96x96
        if y.any():
            lesion.append(np.logaddexp(0, -np.sort(x[y > 0])[-9:]).mean())
    wanted = np.mean(background) + (np.mean(lesion) if lesion else 0)
    assert float(presence_loss(logits, masks)) == pytest.approx(wanted, rel=1e-4)


def test_presence_without_a_region() -> None:
    """A lesion without background, and one smaller than 0.1%, have finite losses and gradients."""
    for masks in (torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)):
        masks[0, 0, 3, 3] = 1
        logits = torch.zeros(1, 1, 64, 64, requires_grad=True)
        loss = presence_loss(logits, masks)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert logits.grad[0, 0, 3, 3] <= 0


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_tversky_at_half_is_dice(seed: int) -> None:
    """At a weight of 0.5 the Tversky loss equals the Dice loss, except for the smoothing."""
    logits, masks = random_case(seed)
    half = float(tversky_loss(logits, masks, missed_weight=0.5))
    assert half == pytest.approx(float(soft_dice_loss(logits, masks)), abs=2e-3)


def test_tversky_punishes_missed_pixels_more_than_false_ones() -> None:
    """A missed half of a lesion costs more than the same number of false pixels beside it."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:16] = 1
    missed, false = torch.full((2, 1, 1, 32, 32), -20.0)
    missed[..., 8:12] = 20
    false[..., 8:20] = 20
    area = 8 * 32
    assert float(tversky_loss(missed, mask)) == pytest.approx(
        1 - (area / 2 + 1) / (area / 2 + 0.7 * area / 2 + 1), abs=1e-4
    )
    assert float(tversky_loss(missed, mask)) > 1.5 * float(tversky_loss(false, mask))


def test_loss_on_worked_cases() -> None:
    """A certain right map costs 0; a certain wrong map costs 1 in Dice and the logit in BCE."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    right = (mask * 2 - 1) * 100
    for loss in LOSSES.values():
        assert float(loss(right, mask)) == pytest.approx(0, abs=1e-6)
    for loss in (bce_dice, structure):
        assert float(loss(-right, mask)) == pytest.approx(100 + 1 - 1 / 65, rel=1e-5)
    half = torch.zeros(1, 1, 8, 8)
    assert float(soft_dice_loss(half, mask)) == pytest.approx(1 - (32 + 1) / (64 + 1))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_lesion_free_image_has_only_cross_entropy(name: str) -> None:
    """Alone it costs the plain mean. Beside a lesion it does not change the overlap term."""
    loss = LOSSES[name]
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, 0, :, :4] = 1
    logits = torch.zeros(2, 1, 8, 8)
    assert float(loss(logits[1:], masks[1:])) == pytest.approx(math.log(2))
    both, one = float(loss(logits, masks)), float(loss(logits[:1], masks[:1]))
    assert both == pytest.approx(one)
    logits.requires_grad_()
    loss(logits[1:], masks[1:]).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[1], torch.full((1, 8, 8), 0.5 / 64))


@pytest.mark.parametrize("loss", [bce_dice, structure, tversky])
def test_logits_of_half_size_are_interpolated(loss: object) -> None:
    """A constant map at stride 2, as the network gives, costs as much as a full one."""
    masks = torch.zeros(1, 1, 16, 16)
    masks[..., :5] = 1
    assert callable(loss)
    small, full = loss(torch.ones(1, 1, 8, 8), masks), loss(torch.ones(1, 1, 16, 16), masks)
    assert float(small) == pytest.approx(float(full))


def test_dice_per_image_on_worked_cases() -> None:
    """Half an overlap scores 0.5, and two empty masks score 1."""
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0, :, :2] = 1
    logits = torch.full((2, 1, 4, 4), -1.0)
    logits[0, 0, :, 1:3] = 1
    assert dice_per_image(logits, masks).tolist() == [0.5, 1.0]


def test_a_few_pixels_are_no_finding() -> None:
    """In an image of 100x100 pixels, 4 pixels are noise and 5 are a finding."""
    logits = torch.full((2, 1, 100, 100), -1.0)
    logits[0, 0, 0, :4] = 1
    logits[1, 0, 0, :5] = 1
    assert finds_something(logits).tolist() == [False, True]
