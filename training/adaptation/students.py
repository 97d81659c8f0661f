"""Trains students on outlines, and in rounds on labels of other frames.

A round labels all frames, and its student learns these labels. The next round begins again from
the same start weights (SemiSAM-O1, arXiv 2604.24109).
"""

import hashlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.networks.bundle import Bundle
from qlumen.networks.encoder import STD
from qlumen.networks.trained import load_network, network_config
from qlumen.networks.unet import UNet
from qlumen.training.adaptation.prototypes import (
    CELL_PX,
    Floats,
    are_unsure,
    describe_cells,
    fit_prototypes,
    mean_entropy,
    predict_maps,
    reduce_masks,
    repair,
    spread_cells,
)
from qlumen.training.batches import Batch
from qlumen.training.cross import CrossTrainer, other_batches, ramp
from qlumen.training.data import Dataset
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings, check_settings

STUDENT = {"batch_size": 8, "augmentation": "endoscopic", "lesion_free": 0, "val_lists": ()}
EPOCH_STEPS = 25
"""Steps of an epoch at least: few outlines are repeated."""
CONSISTENCY, CONSISTENCY_TICKS = 0.1, 200
RUN_TICKS = 100
"""The published run of 15,000 steps has 150 steps a tick, so it ends half-way up the ramp."""
LABELS_RAMP = 0.3
NOISE, MOST_NOISE = 0.1, 0.2
"""Deviation and limit of the teacher's noise, in units of the network's input."""


class Student(Trainer):
    """Trains as `Trainer` does on outlines and, with frames, on the labels that these have.

        L = 0.5 S(outlines) + w_l 0.5 S(frames) + w_c MSE(student, averaged student with noise)

    S is the loss of the settings. From start weights it keeps their batch statistics, which a few
    images would spoil.

    Args:
        frames: images with labels in place of masks.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        outlines: Dataset,
        frames: Dataset | None = None,
    ) -> None:
        super().__init__(settings, folder, fill_epoch(outlines, settings), None)
        self.outlines, self.frames = outlines, frames
        self._coming: Iterator[Batch] = iter(())

    def provenance(self) -> dict[str, Any]:
        return super().provenance() | {"train_images": len(self.outlines), "lesion_free_images": 0}

    def _images_sha256(self) -> str:
        """Return the hash of the names, and of the labels of the frames."""
        if self.frames is None:
            return super()._images_sha256()
        names = self.train.join(self.frames).names_sha256()
        return hashlib.sha256(names.encode() + self.frames.masks.tobytes()).hexdigest()

    def _batches(self) -> Generator[Batch, None, None]:
        if self.frames is None:
            yield from super()._batches()
            return
        with closing(other_batches(self, self.frames)) as self._coming:
            yield from super()._batches()

    def _step(self, batch: Batch) -> Tensor:
        if self.settings.start:
            freeze_statistics(self.network)
        if self.frames is None:
            return super()._step(batch)
        step, other = self.schedule.last_epoch, next(self._coming)
        done = step / (self.settings.epochs * self.steps_per_epoch)
        count, move = len(batch.images), self.devices.move
        both = torch.cat([batch.images, other.images])
        logits = self.devices.forward(self.wrapped, both)
        own, others = logits[:count], logits[count:]
        taught = self._teach(move(other.images), step)
        loss = 0.5 * self._supervised(own, move(batch.masks))
        loss = loss + labels_weight(done) * 0.5 * self._supervised(others, move(other.masks))
        weight = consistency_weight(RUN_TICKS * done)
        return self._descend(loss + weight * F.mse_loss(others.sigmoid(), taught))

    @torch.no_grad()
    def _teach(self, images: Tensor, step: int) -> Tensor:
        """Return the probabilities of the averaged network on images with noise."""
        chance = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        noise = torch.randn(images.shape, generator=chance) * NOISE
        noise = noise.clamp(-MOST_NOISE, MOST_NOISE).to(images.device) * STD
        return self.devices.forward(self.averaged.eval(), images + noise).sigmoid()


def student_settings(bundle: Bundle, outlines: str, *given: Mapping[str, Any]) -> TrainSettings:
    """Return settings for networks of the bundle's shape; later values win.

    Args:
        outlines: list of the outlined images.

    Raises:
        ConfigError: a value is wrong.
    """
    config = network_config(bundle.manifest.network)
    bottleneck = config.bottleneck
    values = {
        **STUDENT,
        "train_lists": (outlines,),
        "input_size": bundle.manifest.input.width,
        "encoder": config.encoder,
        "bottleneck": bottleneck.name,
        "qubits": bottleneck.qubits,
        "layers": bottleneck.layers,
        "reuploading": bottleneck.reuploading,
    }
    for more in given:
        values |= more
    return check_settings(values)


def run_rounds(
    bundle: Bundle,
    outlines: Dataset,
    frames: Dataset,
    settings: TrainSettings,
    folder: Path,
    *,
    rounds: int = 3,
    centres: tuple[int, int] = (4, 8),
    on_round: Callable[[int], None] = lambda number: None,
) -> tuple[Student | None, Floats]:
    """Label frames, and train a student on their labels in each round.

    Round 0 labels by prototypes alone. A later call with the same folder goes on where the last
    one stopped, after its last complete epoch.

    Args:
        bundle: its encoder gives the features.
        frames: images to label; their masks do not count.
        folder: folder for the checkpoints.
        centres: see `fit_prototypes`.

    Returns:
        The last student, or None without rounds, and the probabilities of the frames,
        `(N, size / 2, size / 2)`.

    Raises:
        BundleError: the bundle has no trained weights.
        TrainingError: the folder has checkpoints of other settings or images.
        DatasetError: the outlined images do not show both lesion and background.
    """
    size, encoder = settings.input_size, open_network(bundle).encoder
    known = describe_cells(encoder, outlines, size)
    is_lesion = reduce_masks(outlines.masks, size // CELL_PX)
    depth = known.shape[-1]
    prototypes = fit_prototypes(known.reshape(-1, depth), is_lesion.ravel(), centres)
    cells = describe_cells(encoder, frames, size)
    maps = spread_cells(prototypes.label(cells))
    student = None
    for number in range(1, rounds + 1):
        on_round(number)
        if number > 1:
            maps = repair(maps, cells, are_unsure(mean_entropy(maps)))
        labelled = replace(frames, masks=_enlarge(maps >= 0.5, frames.masks.shape[1]))
        student = Student(settings, folder / f"round-{number}", outlines, labelled)
        if student.has_checkpoint():
            student.resume()
        maps = predict_maps(student.run(), frames, size)
    return student, maps


def run_cross(outlines: Dataset, frames: Dataset, settings: TrainSettings, folder: Path) -> Floats:
    """Train two unlike networks on outlines and on each other's sure masks of frames.

    A later call with the same folder goes on where the last one stopped.

    Returns:
        The probabilities of the frames by the network that is kept, `(N, size / 2, size / 2)`.
    """
    trainer = CrossTrainer(settings, folder / "cross", fill_epoch(outlines, settings), None, frames)
    if trainer.has_checkpoint():
        trainer.resume()
    return predict_maps(trainer.run(), frames, settings.input_size)


def fill_epoch(outlines: Dataset, settings: TrainSettings) -> Dataset:
    """Repeat outlines until they fill `EPOCH_STEPS` batches."""
    return outlines.repeat(math.ceil(EPOCH_STEPS * settings.batch_size / len(outlines)))


def open_network(bundle: Bundle) -> UNet:
    """Load the network of a bundle; raise BundleError if it has no trained weights."""
    return load_network(bundle.weights, network_config(bundle.manifest.network))


def freeze_statistics(network: nn.Module) -> None:
    """Let batch norm use its stored statistics, and not change them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def consistency_weight(tick: float) -> float:
    """Return 0.1 exp(-5 (1 - tick / 200)^2), which is 0.1 from tick 200 on."""
    return ramp(min(tick / CONSISTENCY_TICKS, 1), CONSISTENCY)


def labels_weight(done: float) -> float:
    """Return the weight of the frames' labels after a share of the run: 1 from 30% on."""
    return min(1.0, done / LABELS_RAMP)


def _enlarge(masks: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    ones = (cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
            for mask in masks)  # fmt: skip
    return np.stack(list(ones)).astype(np.uint8)
