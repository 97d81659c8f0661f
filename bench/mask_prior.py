"""Measures whether a prior over masks proposes better outlines, or doubt, than the network's map.

    python bench/mask_prior.py --data D [--limit 1450] [--json FILE]

After arXiv 2604.24719, as a small diffusion model: a mask of 44x44 becomes 64 numbers (principal
components of the training masks), and an MLP removes noise from them, given the mean of the
shipped encoder's deepest features. 16 samples of 20 DDIM steps (Song et al. 2021) make a proposal,
their mean, and doubt, their spread. Both are scored on C5, which nothing here was trained on.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import entropy, spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.datasets.groups import read_origins
from qlumen.evaluation.bootstrap import interval
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.networks.encoder import MEAN, STD
from qlumen.training.adaptation.prototypes import predict_maps
from qlumen.training.adaptation.students import open_network
from qlumen.training.batches import to_batch
from qlumen.training.data import Dataset, load_split, resize_pairs

from support.common import parser, report

SIDE, NUMBERS, WIDTH = 44, 64, 512
STEPS, SAMPLES, TRAINING_STEPS, BATCH = 20, 16, 4000, 256
LEAST_SIGNAL = 1e-4
Denoise = Callable[[Tensor, Tensor], Tensor]
"""Gives the noise in values `(n, d)` of a share of signal `(n, 1)`."""


class Codes:
    """Turns masks into numbers of variance 1 and back."""

    def __init__(self, masks: NDArray[np.float32]) -> None:
        flat = masks.reshape(len(masks), -1)
        self.mean = flat.mean(axis=0)
        _, spreads, ways = np.linalg.svd(flat - self.mean, full_matrices=False)
        self.ways = ways[:NUMBERS]
        self.spreads = spreads[:NUMBERS] / math.sqrt(len(masks))

    def encode(self, masks: NDArray[np.float32]) -> NDArray[np.float32]:
        return (masks.reshape(len(masks), -1) - self.mean) @ self.ways.T / self.spreads

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        flat = (codes * self.spreads) @ self.ways + self.mean
        return flat.reshape(*codes.shape[:-1], SIDE, SIDE)


class Denoiser(nn.Module):
    """Predicts the noise in codes from the share of signal and an image's features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NUMBERS + features + 2, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
            nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, NUMBERS),
        )  # fmt: skip

    def forward(self, codes: Tensor, signal: Tensor, features: Tensor) -> Tensor:
        share = torch.cat([signal.sqrt(), (1 - signal).sqrt()], 1)
        return self.layers(torch.cat([codes, share, features], 1))


def signal_left(time: Tensor) -> Tensor:
    """Return the share of signal (the square of its factor) at a time from 0 to 1."""
    return torch.cos(time * math.pi / 2).square().clamp(LEAST_SIGNAL, 1 - LEAST_SIGNAL)


def sample(denoise: Denoise, noise: Tensor, steps: int = STEPS) -> Tensor:
    """Turn noise `(n, d)` into samples by DDIM steps without new noise."""
    values, times = noise, torch.linspace(1, 0, steps + 1)
    for now, later in pairwise(times):
        signal, next_signal = (signal_left(t).expand(len(values), 1) for t in (now, later))
        found = denoise(values, signal)
        clean = (values - (1 - signal).sqrt() * found) / signal.sqrt()
        values = next_signal.sqrt() * clean + (1 - next_signal).sqrt() * found
    return values


def train(codes: Tensor, features: Tensor) -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(features.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINING_STEPS)
    for _ in range(TRAINING_STEPS):
        rows = torch.randint(len(codes), (BATCH,))
        signal, noise = signal_left(torch.rand(BATCH, 1)), torch.randn(BATCH, NUMBERS)
        mixed = signal.sqrt() * codes[rows] + (1 - signal).sqrt() * noise
        near = features[rows] + 0.1 * torch.randn(BATCH, features.shape[1])
        loss = F.mse_loss(network(mixed, signal, near), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def propose(network: Denoiser, features: Tensor, seed: int = 0) -> Tensor:
    """Return samples of codes, `(n, SAMPLES, NUMBERS)`, of images with features `(n, d)`."""
    chance = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(features) * SAMPLES, NUMBERS, generator=chance)
    given = features.repeat_interleave(SAMPLES, 0)
    found = sample(lambda values, signal: network(values, signal, given), noise)
    return found.reshape(len(features), SAMPLES, NUMBERS)


@torch.no_grad()
def describe(encoder: nn.Module, data: Dataset, size: int) -> Tensor:
    """Return the mean of the deepest features of each image, `(n, d)`."""
    parts = []
    for start in range(0, len(data), 8):
        part = slice(start, start + 8)
        images, masks = resize_pairs(data.images[part], data.masks[part], size)
        batch = to_batch(data.names[part], images, masks).images.float()
        parts.append(encoder((batch - MEAN) / STD)[-1].mean((2, 3)))
    return torch.cat(parts)


def reduce(data: Dataset) -> NDArray[np.float32]:
    return resize_pairs(data.images, data.masks, SIDE)[1].astype(np.float32)


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the Dice of each mask `(n, h, w)`."""
    area = np.maximum(1, found.sum((1, 2)) + truth.sum((1, 2)))
    return 2 * (found & truth).sum((1, 2)) / area


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--limit", type=int)
    options = arguments.parse_args()
    network, size = open_network(read_bundle(find_bundle())), 352
    known = load_split(options.data, "train", limit=options.limit)
    scored = load_split(options.data, "polypgen_c5", limit=options.limit)
    codes = Codes(reduce(known))
    kept = dice(codes.decode(codes.encode(reduce(known))) >= 0.5, reduce(known) > 0)
    features = [describe(network.encoder, data, size) for data in (known, scored)]
    middle, spread = features[0].mean(0), features[0].std(0) + 1e-6
    features = [(one - middle) / spread for one in features]
    denoiser = train(torch.from_numpy(codes.encode(reduce(known)).astype(np.float32)), features[0])
    samples = codes.decode(propose(denoiser, features[1]).numpy())
    truth, maps = reduce(scored) > 0, predict_maps(network, scored, size)
    small = F.interpolate(torch.from_numpy(maps)[:, None], (SIDE, SIDE), mode="area")[:, 0].numpy()
    by = {"proposal": dice(samples.mean(1) >= 0.5, truth), "network": dice(small >= 0.5, truth)}
    doubt = {"spread of the samples": samples.std(1).mean((1, 2)),
             "entropy of the map": entropy(np.stack([small, 1 - small])).mean((1, 2))}  # fmt: skip
    clusters = [one.cluster for one in read_origins(options.data, scored.names)]
    figures = {"Dice of decoded training masks": float(kept.mean())}
    for name, scores in by.items():
        low, high = interval(scores.tolist(), clusters)
        print(f"{name}: Dice {scores.mean():.3f} ({low:.3f} to {high:.3f})")
        figures[f"{name}, Dice"] = float(scores.mean())
    for name, values in doubt.items():
        figures[f"{name}, rank correlation with the network's error"] = float(
            spearmanr(values, 1 - by["network"])[0])  # fmt: skip
    report([], {}, options.json, figures)


if __name__ == "__main__":
    main()
