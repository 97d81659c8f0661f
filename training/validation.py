"""Validates a network between epochs: Dice on validation images, findings where no lesion is."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qlumen.training.batches import to_batch
from qlumen.training.data import Dataset, resize_pairs
from qlumen.training.devices import Devices
from qlumen.training.losses import dice_per_image, finds_something
from qlumen.training.settings import TrainSettings


def mean_dice(
    network: nn.Module, data: Dataset | None, devices: Devices, settings: TrainSettings
) -> float | None:
    """Return the mean Dice of a network on images; None without images."""
    if data is None:
        return None
    rows = np.arange(len(data))
    scores = [dice_per_image(*pair) for pair in _predict(network, data, rows, devices, settings)]
    return float(torch.cat(scores).mean())


def false_share(
    network: nn.Module, data: Dataset, devices: Devices, settings: TrainSettings
) -> float | None:
    """Return the share of the images without lesion in which a network finds something; None
    without such images."""
    rows = np.flatnonzero(~data.has_lesion)
    if not rows.size:
        return None
    predictions = _predict(network, data, rows, devices, settings)
    found = [finds_something(logits) for logits, _ in predictions]
    return float(torch.cat(found).float().mean())


@torch.no_grad()
def _predict(
    network: nn.Module,
    data: Dataset,
    rows: NDArray[np.int64],
    devices: Devices,
    settings: TrainSettings,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits of the rows with the masks, a batch at a time."""
    network.eval()
    for start in range(0, len(rows), settings.batch_size):
        part = rows[start : start + settings.batch_size]
        images, masks = resize_pairs(data.images[part], data.masks[part], settings.input_size)
        batch = to_batch(tuple(data.names[row] for row in part), images, masks)
        yield devices.forward(network, batch.images).cpu(), batch.masks.float()
