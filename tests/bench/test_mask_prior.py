"""Tests the sampler and the codes of the mask prior, by the numbers of a known case."""

import cv2
import numpy as np
import torch
from mask_prior import SIDE, Codes, Denoiser, propose, sample


def test_best_denoiser_of_a_normal_value_gives_its_mean_and_spread() -> None:
    """For N(2, 0.5^2) the best denoiser is known; 200 steps have 1.994 and 0.493 (SEEDS 8 d)."""
    noise = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))

    def denoise(values: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        return (1 - signal).sqrt() * (values - 2 * signal.sqrt()) / (signal / 4 + 1 - signal)

    found = sample(denoise, noise, 200)
    assert abs(found.mean().item() - 2) < 0.02
    assert abs(found.std().item() - 0.5) < 0.02


def test_codes_of_training_masks_decode_to_them() -> None:
    rng, masks = np.random.default_rng(0), np.zeros((300, SIDE, SIDE), np.float32)
    for mask in masks:
        centre, axes = rng.integers(10, 34, 2).tolist(), rng.integers(4, 14, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    codes = Codes(masks)
    found = codes.decode(codes.encode(masks)) >= 0.5
    both = (found & (masks > 0)).sum((1, 2))
    dice = 2 * both / (found.sum((1, 2)) + masks.sum((1, 2)))
    assert dice.mean() >= 0.95
    np.testing.assert_allclose(codes.encode(masks).std(axis=0), 1, atol=0.01)


def test_same_seed_gives_the_same_proposal() -> None:
    torch.manual_seed(0)
    network, features = Denoiser(5).eval(), torch.randn(3, 5)
    assert torch.equal(propose(network, features, 1), propose(network, features, 1))
    assert not torch.equal(propose(network, features, 1), propose(network, features, 2))
