"""Trains a network over epochs, with validation, checkpoints and exact resume."""

import math
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qlumen.errors import TrainingError
from qlumen.networks.unet import UNet
from qlumen.system.files import replacing
from qlumen.training.augment import RANGES
from qlumen.training.batches import Batch, to_batch, training_batches
from qlumen.training.build import build_network, read_network
from qlumen.training.data import Dataset, resize_pairs
from qlumen.training.devices import Devices
from qlumen.training.log import LOG, EpochReport, append
from qlumen.training.losses import LOSSES, dice_per_image, finds_something
from qlumen.training.settings import TrainSettings

CHECKPOINT = "checkpoint.pt"
BEST, LAST = EPOCHS = ("best", "last")
MAX_GRADIENT_NORM = 5.0


class Trainer:
    """Trains a run in a folder, from the start, or after `resume` from its checkpoint.

    Order and augmentation depend only on seed and epoch. So a resumed run ends with the same
    weights as an uninterrupted one. Without validation images the last epoch counts as the
    best. With several processes, only the main one validates and writes.
    """

    def __init__(
        self, settings: TrainSettings, folder: Path, train: Dataset, val: Dataset | None
    ) -> None:
        _check_folder(folder)
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.folder, self.train, self.val = settings, folder, train, val
        self.loss = LOSSES[settings.loss]
        self.devices = Devices(settings)
        self.network = self.devices.place(build_network(settings))
        self.started_from: dict[str, Any] | None = None
        if settings.start:
            origin = read_network(settings.start, settings)
            self.network.load_state_dict(origin.network.state_dict())
            self.started_from = origin.provenance
        average = get_ema_multi_avg_fn(settings.ema_decay)
        self.averaged = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self.optimizer = _optimizer(self.network, settings)
        self.steps_per_epoch = max(1, len(train) // settings.batch_size)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=[settings.encoder_rate, settings.rate],
            total_steps=settings.epochs * self.steps_per_epoch + 1,
            pct_start=settings.warm_up,
        )
        self.wrapped = self.devices.wrap(self.network)
        self.epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def run(
        self,
        on_step: Callable[[int], None] = lambda steps_done: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
    ) -> UNet:
        """Train to the last epoch or until validation stalls; return the best network."""
        while self.epoch < self.settings.epochs and not self._has_stalled():
            started, worked = time.monotonic(), time.process_time()
            loss = self._train_epoch(on_step)
            dice = self.devices.agree(self.validate() if self.devices.is_main else None)
            self.epoch += 1
            if dice is None or self.best is None or dice > self.best:
                self.best, self.best_epoch = dice, self.epoch
                weights = self.averaged.module.state_dict()
                self.best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
            if self.devices.is_main:
                false_share = self.false_share()
                seconds, cpu = time.monotonic() - started, time.process_time() - worked
                report = EpochReport(self.epoch, loss, dice, self.best, seconds, false_share, cpu)
                self._save()
                append(self.folder / LOG, report)
                on_epoch(report)
            self.devices.wait()
        return self.finish()

    def finish(self, epoch: str = BEST) -> UNet:
        """Return the network with the averaged weights of the best epoch, or of the last.

        Raises:
            TrainingError: the run has no complete epoch
        """
        if not self.best_weights:
            raise TrainingError("the run has no complete epoch; train one first")
        network = build_network(self.settings.model_copy(update={"pretrained": False}))
        last = self.averaged.module.state_dict()
        network.load_state_dict(self.best_weights if epoch == BEST else last)
        return network.eval()

    def has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).is_file()

    def provenance(self) -> dict[str, Any]:
        """Describe the run for a bundle's manifest."""
        return {
            "settings": self.settings.model_dump(mode="json", exclude={"start", "threads"}),
            "started_from": self.started_from,
            "train_images": len(self.train),
            "lesion_free_images": int((~self.train.masks.any(axis=(1, 2))).sum()),
            "val_images": len(self.val) if self.val else 0,
            "epochs_done": self.epoch,
            "best_epoch": self.best_epoch,
            "best_validation_dice": None if self.best is None else round(self.best, 4),
        }

    def resume(self) -> None:
        """Load the folder's checkpoint.

        Raises:
            TrainingError: it is missing or damaged, or has other settings or images
        """
        path = self.folder / CHECKPOINT
        if not self.has_checkpoint():
            raise TrainingError(f"there is no {path} to resume; train without --resume first")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{path} is damaged; start a new run: {error}") from None
        given = TrainSettings.model_validate(state["settings"]).model_dump(mode="json")
        here = self.settings.model_dump(mode="json")
        differing = sorted(key for key in here if given[key] != here[key] and key != "threads")
        if differing:
            raise TrainingError(f"{path} was made with other settings: {', '.join(differing)}")
        if state["images"] != self.train.names_sha256():
            raise TrainingError(f"{path} has other images; give the same --data and --limit")
        for name in ("network", "averaged", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_weights = state["best_weights"]

    def validate(self) -> float | None:
        """Return the mean validation Dice of the averaged weights; None without images."""
        if self.val is None:
            return None
        scores = [
            dice_per_image(*pair) for pair in self._predictions(self.val, np.arange(len(self.val)))
        ]
        return float(torch.cat(scores).mean())

    def false_share(self) -> float | None:
        """Return the share of the training images without lesion that have a finding."""
        rows = np.flatnonzero(~self.train.masks.any(axis=(1, 2)))
        if not rows.size:
            return None
        found = [finds_something(logits) for logits, _ in self._predictions(self.train, rows)]
        return float(torch.cat(found).float().mean())

    @torch.no_grad()
    def _predictions(
        self, data: Dataset, rows: NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield logits of the averaged weights with the masks, a batch at a time."""
        self.averaged.eval()
        side, count = self.settings.input_size, self.settings.batch_size
        for start in range(0, len(rows), count):
            part = rows[start : start + count]
            images, masks = resize_pairs(data.images[part], data.masks[part], side)
            batch = to_batch(tuple(data.names[row] for row in part), images, masks)
            yield self.devices.forward(self.averaged, batch.images).cpu(), batch.masks

    def _has_stalled(self) -> bool:
        patience = self.settings.patience
        return bool(patience) and self.epoch - self.best_epoch >= patience

    def _train_epoch(self, on_step: Callable[[int], None]) -> float:
        settings = self.settings
        self.wrapped.train()
        batches = training_batches(
            self.train,
            self.epoch,
            batch_size=settings.batch_size,
            sizes=settings.sides or (settings.input_size,),
            seed=settings.seed,
            ranges=RANGES[settings.augmentation],
            rank=self.devices.rank,
            processes=self.devices.processes,
        )
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            on_step(self.epoch * self.steps_per_epoch + len(losses))
        return sum(losses) / len(losses)

    def _step(self, batch: Batch) -> float:
        logits = self.devices.forward(self.wrapped, batch.images)
        loss = self.loss(logits, batch.masks.to(logits.device))
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
        # torch gets a file: with a path it reports a full disk as a RuntimeError.
        with replacing(self.folder / CHECKPOINT) as part, part.open("wb") as file:
            torch.save(state, file)


def _check_folder(folder: Path) -> None:
    """Make the run's folder and write to it, so that hours of training are not lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{CHECKPOINT}.part"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot write to run folder {folder}: {error.strerror}") from None


def _optimizer(network: UNet, settings: TrainSettings) -> torch.optim.AdamW:
    encoder = list(network.encoder.parameters())
    ours = {id(p) for p in encoder}
    others = [p for p in network.parameters() if id(p) not in ours]
    return torch.optim.AdamW(
        [{"params": encoder}, {"params": others}],
        lr=settings.rate,
        weight_decay=settings.weight_decay,
    )
