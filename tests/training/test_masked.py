"""Masked pre-training: hidden pixels leak nowhere, and only hidden cells are scored."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from qlumen.networks.encoder import Encoder
from qlumen.training.masked import (
    MaskedAutoencoder,
    draw_cells,
    normalise_cells,
    restoration_loss,
)


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    cells = draw_cells(2, 4, 4, 0.6, np.random.default_rng(5))
    return torch.randn(2, 3, 128, 128), cells


def test_draw_hides_the_same_count_in_each_image() -> None:
    cells = draw_cells(7, 4, 5, 0.6, np.random.default_rng(0))
    assert (~cells).sum((1, 2, 3)).tolist() == [12] * 7
    assert len({tuple(c.flatten().tolist()) for c in cells}) > 1


@pytest.mark.parametrize("training", [True, False])
def test_noise_in_hidden_pixels_changes_nothing(drawn, training: bool) -> None:
    images, cells = drawn
    hidden = F.interpolate((~cells).float(), scale_factor=32)
    noisy = images + 9 * torch.randn_like(images) * hidden
    assert not torch.equal(noisy, images)
    states, features = [], []
    for given in (images, noisy):
        torch.manual_seed(0)
        network = MaskedAutoencoder(Encoder()).train(training)
        with torch.no_grad():
            features.append(network.encode(given, cells))
        states.append(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*features, strict=True))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_each_stride_hides_the_same_cells(drawn) -> None:
    images, cells = drawn
    torch.manual_seed(0)
    with torch.no_grad():
        features = MaskedAutoencoder(Encoder()).encode(images, cells)
    assert [f.shape[-1] for f in features] == [64, 32, 16, 8, 4]
    for feature in features:
        touched = F.adaptive_max_pool2d(feature.abs().amax(1, keepdim=True), 4) > 0
        assert torch.equal(touched, cells)


def test_statistics_are_those_of_visible_positions(drawn) -> None:
    images, cells = drawn
    torch.manual_seed(0)
    encoder = Encoder()
    seen = F.interpolate(cells.float(), scale_factor=32)
    with torch.no_grad():
        maps = F.conv2d(F.pad(images * seen, (0, 1, 0, 1)), encoder.stem[1].weight, stride=2)
        MaskedAutoencoder(encoder).train().encode(images, cells)
    rows = maps.permute(0, 2, 3, 1)[seen[:, 0, ::2, ::2].bool()].double().numpy()
    np.testing.assert_allclose(encoder.stem[2].running_mean, 0.01 * rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        encoder.stem[2].running_var, 0.99 + 0.01 * rows.var(0, ddof=1), rtol=1e-5
    )


def test_all_visible_is_the_plain_encoder(drawn) -> None:
    images, cells = drawn
    torch.manual_seed(0)
    encoder = Encoder().eval()
    with torch.no_grad():
        plain = encoder(images)
        masked = MaskedAutoencoder(encoder).eval().encode(images, torch.ones_like(cells))
    for a, b in zip(plain, masked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_loss_on_all_cells_is_the_mean_squared_error(drawn) -> None:
    images, cells = drawn
    restored, everywhere = torch.randn_like(images), torch.ones_like(cells)
    expected = F.mse_loss(restored, normalise_cells(images))
    torch.testing.assert_close(restoration_loss(restored, images, everywhere), expected)
    one = images.numpy()[1, :, 32:64, 96:128].astype(float)
    got = normalise_cells(images)[1, :, 32:64, 96:128]
    np.testing.assert_allclose(got, (one - one.mean()) / one.std(), atol=1e-4)


def test_loss_ignores_visible_pixels(drawn) -> None:
    images, cells = drawn
    restored = torch.randn_like(images)
    seen = F.interpolate(cells.float(), scale_factor=32)
    first = restoration_loss(restored, images, ~cells)
    assert torch.equal(first, restoration_loss(restored + 5 * seen, images, ~cells))
    assert not torch.equal(first, restoration_loss(restored + 5 * (1 - seen), images, ~cells))
