"""Pre-trains the encoder of a network on images without masks."""

import numpy as np
from torch import Tensor

from qlumen.errors import TrainingError
from qlumen.networks.encoder import Encoder
from qlumen.training.batches import Batch
from qlumen.training.loop import BEST, Trainer
from qlumen.training.masked import CELL_PX, MaskedAutoencoder, draw_cells, restoration_loss

CELLS = 2
"""Separates the random numbers of hidden cells from those of images and sides."""


class Pretrainer(Trainer):
    """Pre-trains the encoder of a run; images are all that it reads of its data.

    The cells of a step depend only on seed and step, so a resumed run gives the same weights.
    """

    network: MaskedAutoencoder  # type: ignore[assignment]

    def finish(self, epoch: str = BEST) -> Encoder:  # type: ignore[override]
        """Return the encoder with the averaged weights of the last epoch.

        Raises:
            TrainingError: the run has no complete epoch
        """
        if not self.best_weights:
            raise TrainingError("the run has no complete epoch; train one first")
        encoder = Encoder(self.settings.encoder)
        prefix = "encoder."
        encoder.load_state_dict(
            {k.removeprefix(prefix): v for k, v in self.best_weights.items()
             if k.startswith(prefix)}
        )  # fmt: skip
        return encoder.eval()

    def _build(self) -> MaskedAutoencoder:  # type: ignore[override]
        return MaskedAutoencoder(super()._build().encoder)

    def _validate(self) -> None:
        return None

    def _false_share(self) -> None:
        return None

    def _step(self, batch: Batch) -> Tensor:
        settings, step = self.settings, self.schedule.last_epoch
        side = batch.images.shape[-1] // CELL_PX
        rng = np.random.default_rng((settings.seed, step, self.devices.rank, CELLS))
        drawn = draw_cells(len(batch.images), side, side, settings.hidden_share, rng)
        cells = drawn.to(self.devices.device)
        restored = self.devices.forward(self.wrapped, batch.images, cells)
        return self._descend(restoration_loss(restored, self.devices.move(batch.images), ~cells))
