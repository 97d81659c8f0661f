"""Trains a network over epochs, with validation, checkpoints and exact resume."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qlumen.errors import TrainingError
from qlumen.networks.unet import UNet
from qlumen.training.augment import RANGES
from qlumen.training.batches import Batch, count_steps, explain_dead_workers, training_batches
from qlumen.training.build import build_network, read_network
from qlumen.training.checkpoint import (
    CHECKPOINT,
    check_folder,
    read_checkpoint,
    write_best,
    write_checkpoint,
)
from qlumen.training.data import Dataset
from qlumen.training.devices import Devices
from qlumen.training.log import LOG, EpochReport, append
from qlumen.training.losses import LOSSES, presence_loss
from qlumen.training.settings import FILE_SETTINGS, MACHINE_SETTINGS, TrainSettings
from qlumen.training.start_encoder import load_encoder
from qlumen.training.validation import false_share, mean_dice

BEST, LAST = EPOCHS = ("best", "last")
MAX_GRADIENT_NORM = 5.0
LOSS_STEPS = 20
"""Steps between two looks at the losses. A GPU stops at each look."""


class Trainer:
    """Trains a run in a folder, from the start, or after `resume` from its checkpoint.

    Order and augmentation depend only on seed and epoch. So a resumed run ends with the same
    weights as an uninterrupted one. Without validation images the last epoch counts as the
    best. With several processes, only the main one validates and writes.
    """

    def __init__(
        self, settings: TrainSettings, folder: Path, train: Dataset, val: Dataset | None
    ) -> None:
        check_folder(folder)
        torch.manual_seed(settings.seed)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.folder, self.train, self.val = settings, folder, train, val
        self.loss = LOSSES[settings.loss]
        self.devices = Devices(settings)
        self.encoder_from: dict[str, Any] | None = None
        self.network = self.devices.place(self._build())
        self.started_from: dict[str, Any] | None = None
        if settings.start:
            origin = read_network(settings.start, settings)
            self.network.load_state_dict(origin.network.state_dict())
            self.started_from = origin.provenance
        average = get_ema_multi_avg_fn(settings.ema_decay)
        self.averaged = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self.optimizer = make_optimizer(self.network, settings)
        self.steps_per_epoch = count_steps(train, settings.batch_size)
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
        self.out_of_time = False

    def run(
        self,
        on_step: Callable[[int], None] = lambda steps_done: None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        deadline: float = math.inf,
    ) -> UNet:
        """Train to the last epoch or until validation stalls; return the best network.

        Args:
            deadline: `time.monotonic()`, in seconds, that ends the run earlier: after one epoch
                or more, if another one as slow as the slowest would end later. `out_of_time` is
                then True.
        """
        slowest = 0.0
        with explain_dead_workers(), closing(self._batches()) as batches:
            while not self._is_complete():
                started = time.monotonic()
                self._run_epoch(batches, on_step, on_epoch)
                slowest = max(slowest, time.monotonic() - started)
                is_late = time.monotonic() + slowest > deadline
                if self.devices.agree(is_late) and not self._is_complete():
                    self.out_of_time = True
                    break
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
        settings = self.settings.model_dump(mode="json", exclude=FILE_SETTINGS | MACHINE_SETTINGS)
        # A folder's place on this computer tells nothing and may be private.
        settings["unlabelled_lists"] = [Path(n).name for n in self.settings.unlabelled_lists]
        return {
            "settings": settings,
            "started_from": self.started_from,
            "encoder_from": self.encoder_from,
            "train_images": len(self.train),
            "lesion_free_images": int((~self.train.has_lesion).sum()),
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
        state = read_checkpoint(self.folder, self.settings, self._images_sha256())
        for name in self.kept:
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_weights = state["best_weights"]

    @property
    def kept(self) -> tuple[str, ...]:
        """Name the parts whose states the checkpoint keeps."""
        return "network", "averaged", "optimizer", "schedule"

    def _images_sha256(self) -> str:
        return self.train.names_sha256()

    def _build(self) -> UNet:
        network = build_network(self.settings)
        if self.settings.start_encoder:
            self.encoder_from = load_encoder(network.encoder, self.settings.start_encoder)
        return network

    def _is_complete(self) -> bool:
        patience = self.settings.patience
        has_stalled = bool(patience) and self.epoch - self.best_epoch >= patience
        return has_stalled or self.epoch >= self.settings.epochs

    def _batches(self) -> Generator[Batch, None, None]:
        settings = self.settings
        return training_batches(
            self.train,
            range(self.epoch, settings.epochs),
            batch_size=settings.batch_size,
            sizes=settings.sides or (settings.input_size,),
            seed=settings.seed,
            ranges=RANGES[settings.augmentation],
            rank=self.devices.rank,
            processes=self.devices.processes,
            workers=settings.workers,
            pin=self.devices.is_gpu,
        )

    def _run_epoch(
        self,
        batches: Iterator[Batch],
        on_step: Callable[[int], None],
        on_epoch: Callable[[EpochReport], None],
    ) -> None:
        """Train an epoch, validate, and keep the result."""
        started, worked = time.monotonic(), time.process_time()
        loss = self._train_epoch(batches, on_step)
        dice = self.devices.agree(self._validate() if self.devices.is_main else None)
        self.epoch += 1
        is_best = dice is None or self.best is None or dice > self.best
        if is_best:
            self.best, self.best_epoch = dice, self.epoch
            weights = self.averaged.module.state_dict()
            self.best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
        if self.devices.is_main:
            free = self._false_share()
            seconds, cpu = time.monotonic() - started, time.process_time() - worked
            report = EpochReport(self.epoch, loss, dice, self.best, seconds, free, cpu)
            self._save()
            if is_best:
                write_best(self.folder, self.best_weights, self.epoch)
            append(self.folder / LOG, report)
            on_epoch(report)
        self.devices.wait()

    def _validate(self) -> float | None:
        return mean_dice(self.averaged, self.val, self.devices, self.settings)

    def _false_share(self) -> float | None:
        return false_share(self.averaged, self.train, self.devices, self.settings)

    def _train_epoch(self, batches: Iterator[Batch], on_step: Callable[[int], None]) -> float:
        """Train on the batches of an epoch; return the mean loss of its steps."""
        self.wrapped.train()
        losses: list[float] = []
        waiting: list[tuple[tuple[str, ...], Tensor]] = []
        for step, batch in enumerate(islice(batches, self.steps_per_epoch), 1):
            waiting.append((batch.names, self._step(batch)))
            if len(waiting) == LOSS_STEPS or step == self.steps_per_epoch:
                losses += self._read_losses(waiting)
                waiting.clear()
            on_step(self.epoch * self.steps_per_epoch + step)
        return sum(losses) / len(losses)

    def _read_losses(self, waiting: Sequence[tuple[tuple[str, ...], Tensor]]) -> list[float]:
        """Return the losses of steps; raise TrainingError at the first that is not finite."""
        values: list[float] = torch.stack([loss for _, loss in waiting]).tolist()
        for (names, _), value in zip(waiting, values, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"loss is {value} in epoch {self.epoch + 1} on {', '.join(names)}; "
                    "start another run with a lower rate"
                )
        return values

    def _step(self, batch: Batch) -> Tensor:
        logits = self.devices.forward(self.wrapped, batch.images)
        masks = self.devices.move(batch.masks)
        return self._descend(self._supervised(logits, masks))

    def _supervised(self, logits: Tensor, masks: Tensor) -> Tensor:
        loss = self.loss(logits, masks)
        if self.settings.presence:
            loss = loss + self.settings.presence * presence_loss(logits, masks)
        return loss

    def _descend(self, loss: Tensor) -> Tensor:
        """Take a step down the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.network)
        return loss.detach()

    def _save(self) -> None:
        state = {
            "settings": self.settings.model_dump(mode="json"),
            "images": self._images_sha256(),
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            **{name: getattr(self, name).state_dict() for name in self.kept},
        }
        write_checkpoint(self.folder, state)


def make_optimizer(network: UNet, settings: TrainSettings) -> torch.optim.AdamW:
    """Make the optimizer of a network, with rates of their own for the encoder and the rest."""
    encoder = list(network.encoder.parameters())
    ours = {id(p) for p in encoder}
    others = [p for p in network.parameters() if id(p) not in ours]
    return torch.optim.AdamW(
        [{"params": encoder}, {"params": others}],
        lr=settings.rate,
        weight_decay=settings.weight_decay,
    )
