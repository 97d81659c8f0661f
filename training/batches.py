"""Makes the batches of an epoch from seed and epoch only, one batch ahead in a thread."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qlumen.networks.encoder import MEAN, STD
from qlumen.training.augment import PLAIN, AugmentRanges, augment
from qlumen.training.data import Dataset
from qlumen.training.mixing import mix

SIDE = 1
"""Separates the random numbers of a batch's side from those of its images."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Holds the images and masks of a training step.

    Attributes:
        images: `(N, 3, S, S) float32`, normalised RGB
        masks: `(N, 1, S, S) float32`, 0 or 1
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor


def training_batches(
    data: Dataset,
    epoch: int,
    *,
    batch_size: int,
    sizes: Sequence[int],
    seed: int,
    ranges: AugmentRanges = PLAIN,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """Yield shuffled, augmented batches; drop an incomplete last one if there are others.

    Args:
        sizes: sides in pixels; each batch draws one of them with equal chance
        rank: index of this process, which gets every `processes`-th image of each batch
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(data))
    count = max(1, len(data) // batch_size)
    parts = [order[i * batch_size : (i + 1) * batch_size] for i in range(count)]

    def make(rows: NDArray[np.int64]) -> Batch:
        side = int(np.random.default_rng((seed, epoch, int(rows[0]), SIDE)).choice(sizes))
        pairs = []
        mine = rows[rank::processes]
        for row in mine:
            rng = np.random.default_rng((seed, epoch, int(row)))
            image, mask = mix(data, int(row), rng, ranges)
            pairs.append(augment(image, mask, side, rng, ranges))
        images, masks = zip(*pairs, strict=True)
        return to_batch(tuple(data.names[row] for row in mine), np.stack(images), np.stack(masks))

    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(make, parts[0])
        for rows in parts[1:]:
            ready, coming = coming.result(), pool.submit(make, rows)
            yield ready
        yield coming.result()


def to_batch(names: tuple[str, ...], images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> Batch:
    """Normalise `(N, S, S, 3)` BGR bytes and `(N, S, S)` masks."""
    rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    normalised = (rgb - MEAN) / STD
    return Batch(names, normalised.contiguous(), torch.from_numpy(masks)[:, None].float())
