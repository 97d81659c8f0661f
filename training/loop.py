"""Training a network: epochs, validation, checkpoints, exact resume."""

import csv
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import WEIGHTS, read_bundle
from qlumen.networks.export import load_network, network_config
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.layer import QuantumLayer
from qlumen.quantum.surrogate import check_table_size
from qlumen.realtime.errors import TrainingError
from qlumen.training.batches import Batch, to_batch, training_batches
from qlumen.training.data import Dataset, resized
from qlumen.training.losses import bce_dice, dice_per_image
from qlumen.training.settings import TrainSettings

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
MAX_GRADIENT_NORM = 5.0
WARM_UP_SHARE = 0.1
"""The share of all steps in which the one-cycle learning rate rises."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Attributes:
    epoch: 1-based. loss: mean over the epoch's steps.
    dice: of the averaged weights on the validation images; `best` of all epochs so far.
    """

    epoch: int
    loss: float
    dice: float
    best: float
    seconds: float


class Trainer:
    """A run in a folder, from the start, or after `resume` from the folder's checkpoint.

    Order and augmentation are functions of seed and epoch, so a run that was
    interrupted ends with the same weights as one that was not.
    """

    def __init__(self, settings: TrainSettings, folder: Path, train: Dataset, val: Dataset) -> None:
        _check_folder(folder)
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.folder, self.train, self.val = settings, folder, train, val
        self.network = build_network(settings)
        self.started_from = _start_from(self.network, settings.start) if settings.start else None
        average = get_ema_multi_avg_fn(settings.ema_decay)
        self.averaged = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self.optimizer = _optimizer(self.network, settings)
        self.steps_per_epoch = max(1, len(train) // settings.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=[settings.encoder_rate, settings.rate],
            total_steps=settings.epochs * self.steps_per_epoch + 1,
            pct_start=WARM_UP_SHARE,
        )
        self.epoch = 0
        self.best, self.best_epoch = -1.0, 0
        self.best_weights: dict[str, Tensor] = {}

    def run(
        self,
        on_step: Callable[[int], None] = lambda steps_done: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
    ) -> UNet:
        """Train to the last epoch and return the network with the best averaged weights."""
        while self.epoch < self.settings.epochs:
            started = time.monotonic()
            loss = self._train_epoch(on_step)
            dice = self.validate()
            self.epoch += 1
            if dice > self.best:
                self.best, self.best_epoch = dice, self.epoch
                self.best_weights = _copied(self.averaged.module)
            report = EpochReport(self.epoch, loss, dice, self.best, time.monotonic() - started)
            self._save()
            _append(self.folder / LOG, report)
            on_epoch(report)
        best = build_network(self.settings)
        best.load_state_dict(self.best_weights)
        return best.eval()

    def has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).is_file()

    def provenance(self) -> dict[str, Any]:
        """What a bundle's papers say of the run."""
        return {
            "settings": self.settings.model_dump(mode="json", exclude={"start", "threads"}),
            "started_from": self.started_from,
            "train_images": len(self.train),
            "val_images": len(self.val),
            "epochs_done": self.epoch,
            "best_epoch": self.best_epoch,
            "best_validation_dice": round(self.best, 4),
        }

    def resume(self) -> None:
        """Load the folder's checkpoint.

        Raises:
            TrainingError: there is none, or it was made with other settings.
        """
        path = self.folder / CHECKPOINT
        if not self.has_checkpoint():
            raise TrainingError(f"nothing to resume: no {path}; train without --resume first")
        state = _read_checkpoint(path)
        given = TrainSettings.model_validate(state["settings"]).model_dump(mode="json")
        here = self.settings.model_dump(mode="json")
        differing = sorted(key for key in here if given[key] != here[key] and key != "threads")
        if differing:
            raise TrainingError(f"{path} was made with other settings: {', '.join(differing)}")
        if state["images"] != self.train.names_sha256():
            raise TrainingError(f"{path} was made with other images; give the same --data, --limit")
        for name in ("network", "averaged", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_weights = state["best_weights"]

    @torch.no_grad()
    def validate(self) -> float:
        """Mean Dice of the averaged weights over the validation images."""
        self.averaged.eval()
        scores = []
        for start in range(0, len(self.val), self.settings.batch_size):
            batch = self._validation_batch(start)
            logits = self._forward(self.averaged, batch.images)
            scores.append(dice_per_image(logits, batch.masks))
        return float(torch.cat(scores).mean())

    def _train_epoch(self, on_step: Callable[[int], None]) -> float:
        settings = self.settings
        self.network.train()
        batches = training_batches(
            self.train,
            self.epoch,
            batch_size=settings.batch_size,
            size=settings.input_size,
            seed=settings.seed,
        )
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            on_step(self.epoch * self.steps_per_epoch + len(losses))
        return sum(losses) / len(losses)

    def _step(self, batch: Batch) -> float:
        loss = bce_dice(self._forward(self.network, batch.images), batch.masks)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"loss is {value} in epoch {self.epoch + 1} on {', '.join(batch.names)}; "
                "start another run with a lower rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.network)
        return value

    def _forward(self, network: nn.Module, images: Tensor) -> Tensor:
        half = self.settings.precision == "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return network(images).float()

    def _validation_batch(self, start: int) -> Batch:
        rows = slice(start, start + self.settings.batch_size)
        side = self.settings.input_size
        images, masks = resized(self.val.images[rows], self.val.masks[rows], side)
        return to_batch(self.val.names[rows], images, masks)

    def _save(self) -> None:
        state = {
            "settings": self.settings.model_dump(mode="json"),
            "images": self.train.names_sha256(),
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        part = self.folder / f".{CHECKPOINT}.part"
        torch.save(state, part)
        part.replace(self.folder / CHECKPOINT)


def _check_folder(folder: Path) -> None:
    """Make the run's folder, before hours of work that could then not be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{CHECKPOINT}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise TrainingError(f"the run's folder {folder}: {error.strerror}") from None


def build_network(settings: TrainSettings) -> UNet:
    """The network of a run, with ImageNet weights in the encoder if it starts from them."""
    network = UNet(NetworkConfig(bottleneck=bottleneck_config(settings)))
    if isinstance(core := network.bottleneck.core, QuantumLayer):
        check_table_size(core.circuit)
        core.method = settings.differentiation
    if settings.pretrained:
        network.encoder.load_imagenet()
    return network


def bottleneck_config(settings: TrainSettings) -> BottleneckConfig:
    return BottleneckConfig(
        settings.bottleneck, settings.qubits, settings.layers, settings.reuploading
    )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is damaged; start the run anew: {error}") from None
    return state


def _start_from(network: UNet, folder: Path) -> dict[str, Any]:
    """Load a bundle's weights, and say for the provenance which bundle and how it came to be."""
    bundle = read_bundle(folder)
    config = network_config(bundle.manifest.network)
    if config != network.config:
        raise TrainingError(f"{folder} holds {config}; this run trains {network.config}")
    network.load_state_dict(load_network(folder / WEIGHTS, config).state_dict())
    return {"bundle_sha256": bundle.sha256, **bundle.manifest.provenance}


def _optimizer(network: UNet, settings: TrainSettings) -> torch.optim.AdamW:
    encoder = list(network.encoder.parameters())
    ours = {id(p) for p in encoder}
    others = [p for p in network.parameters() if id(p) not in ours]
    return torch.optim.AdamW(
        [{"params": encoder}, {"params": others}],
        lr=settings.rate,
        weight_decay=settings.weight_decay,
    )


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _append(path: Path, report: EpochReport) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "loss", "dice", "best", "seconds"])
        scores = [f"{value:.5f}" for value in (report.loss, report.dice, report.best)]
        writer.writerow([report.epoch, *scores, f"{report.seconds:.1f}"])
