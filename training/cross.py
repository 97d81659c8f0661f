"""Trains on images without masks too: two unlike networks learn each other's sure masks.

Cross labels are those of Chen et al. 2021, "Semi-supervised semantic segmentation with cross
pseudo supervision"; rectangles are pasted as in Yun et al. 2019, "CutMix".
"""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.errors import TrainingError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.training.augment import RANGES
from qlumen.training.batches import Batch, count_steps, training_batches
from qlumen.training.data import Dataset
from qlumen.training.loop import MAX_GRADIENT_NORM, Trainer, make_optimizer
from qlumen.training.settings import TrainSettings

SURE = 0.933
"""A pixel teaches where its probability is at least this, or at most 1 minus this."""
PASTE_FROM = 1 / 3
PASTE_SIDE = 2 / 3
UNLABELLED, PASTE = 3, 4
"""Separate the random numbers of unlabelled images and of rectangles from others."""
SECOND = NetworkConfig((48, 32, 24, 16), BottleneckConfig("identity"), "lite2")
"""The second network: other depth and widths, own ImageNet weights, no circuit."""


class CrossTrainer(Trainer):
    """Trains as `Trainer` does, with a second network that is thrown away.

    Each network learns the truth of labelled images, and the other's sure masks of unlabelled
    ones. With `unlabelled_weight` 0 the run is that of `Trainer`, bit for bit.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        train: Dataset,
        val: Dataset | None,
        unlabelled: Dataset,
    ) -> None:
        super().__init__(settings, folder, train, val)
        if self.devices.processes > 1:
            raise TrainingError("unlabelled_lists work in one process only; start one")
        self.unlabelled = unlabelled
        with torch.random.fork_rng(devices=[]):
            second = UNet(SECOND)
        if settings.pretrained:
            second.encoder.load_imagenet()
        self.second = self.devices.place(second)
        self.second_optimizer = make_optimizer(self.second, settings)
        self._coming: Iterator[Batch] = iter(())

    @property
    def kept(self) -> tuple[str, ...]:
        return (*super().kept, "second", "second_optimizer")

    def _images_sha256(self) -> str:
        return self.train.join(self.unlabelled).names_sha256()

    def _batches(self) -> Generator[Batch, None, None]:
        with closing(other_batches(self, self.unlabelled)) as self._coming:
            yield from super()._batches()

    def _step(self, batch: Batch) -> Tensor:
        if not self.settings.unlabelled_weight:
            return super()._step(batch)
        step = self.schedule.last_epoch
        done = step / (self.settings.epochs * self.steps_per_epoch)
        weight = ramp(done, self.settings.unlabelled_weight)
        other = next(self._coming)
        images, masks = self.devices.move(batch.images), self.devices.move(batch.masks)
        unlabelled = self.devices.move(other.images)
        networks = (self.network, self.second)
        taught = [self._predict(network, unlabelled) for network in networks]
        if done >= PASTE_FROM:
            rng = np.random.default_rng((self.settings.seed, step, PASTE))
            inside = draw_rectangle(images.shape[-1], rng).to(images.device)
            rows = torch.arange(len(unlabelled), device=images.device) % len(images)
            unlabelled = paste(unlabelled, images[rows], inside)
            taught = [paste(each, masks[rows], inside) for each in taught]
        both = torch.cat([images, unlabelled])
        groups = zip(self.second_optimizer.param_groups, self.optimizer.param_groups, strict=True)
        for theirs, ours in groups:
            theirs["lr"] = ours["lr"]
        losses = []
        for network, lessons in zip(networks, reversed(taught), strict=True):
            logits = self.devices.forward(network.train(), both)
            loss = self._supervised(logits[: len(images)], masks)
            losses.append(loss + weight * sure_loss(logits[len(images) :], lessons))
        self._descend_second(losses[1])
        return self._descend(losses[0])

    @torch.no_grad()
    def _predict(self, network: UNet, images: Tensor) -> Tensor:
        """Return probabilities `(N, 1, S, S)`, without gradient and batch statistics."""
        logits = self.devices.forward(network.eval(), images)
        size = images.shape[-2:]
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False).sigmoid()

    def _descend_second(self, loss: Tensor) -> None:
        self.second_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.second.parameters(), MAX_GRADIENT_NORM)
        self.second_optimizer.step()


def other_batches(trainer: Trainer, data: Dataset) -> Generator[Batch, None, None]:
    """Yield a batch of other images for each step of a run from its present step on."""
    settings, size = trainer.settings, trainer.settings.batch_size
    epoch, skipped = divmod(trainer.schedule.last_epoch, count_steps(data, size))
    steps = settings.epochs * trainer.steps_per_epoch
    batches = training_batches(
        data,
        range(epoch, epoch + math.ceil(steps / count_steps(data, size)) + 1),
        batch_size=size,
        sizes=(settings.input_size,),
        seed=settings.seed + UNLABELLED,
        ranges=RANGES[settings.augmentation],
    )
    with closing(batches):
        yield from islice(batches, skipped, None)


def ramp(done: float, largest: float) -> float:
    """Return the weight of cross labels after a share `done` of the run: largest at its end."""
    return largest * math.exp(-5 * (1 - done) ** 2)


def draw_rectangle(side: int, rng: np.random.Generator) -> Tensor:
    """Draw a square of 2/3 of the side: `(side, side)` bool."""
    length = round(PASTE_SIDE * side)
    top, left = rng.integers(0, side - length + 1, size=2)
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[top : top + length, left : left + length] = True
    return inside


def paste(onto: Tensor, piece: Tensor, inside: Tensor) -> Tensor:
    """Take `piece` inside and `onto` outside; images and masks get the same pixels."""
    return torch.where(inside, piece, onto)


def sure_loss(logits: Tensor, taught: Tensor) -> Tensor:
    """Return the mean cross-entropy over pixels whose taught probability is sure; 0 without any.

    Args:
        logits: `(N, 1, h, w)`, interpolated to the size of `taught` first
        taught: `(N, 1, H, W)` probabilities, which get no gradient
    """
    taught = taught.detach()
    sure = (taught >= SURE) | (taught <= 1 - SURE)
    logits = F.interpolate(logits, size=taught.shape[-2:], mode="bilinear", align_corners=False)
    entropy = F.binary_cross_entropy_with_logits(logits, (taught >= SURE).float(), reduction="none")
    return (entropy * sure).sum() / sure.sum().clamp(min=1)
