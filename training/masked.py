"""Pre-trains an encoder on images without masks: it restores the cells that are hidden.

The manner is that of Tian et al. 2023, "Designing BERT for convolutional networks" (SparK).
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.networks.encoder import Encoder
from qlumen.networks.unet import UpStage

CELL_PX = Encoder.stride
"""Side of a cell: one position of the deepest features."""
DECODER_WIDTHS = (64, 48, 32)
OUTPUT_STRIDE = 4
VARIANCE_FLOOR = 1e-6


class Visible:
    """Holds which cells of a batch are visible: `cells` is `(N, 1, H/32, W/32)` bool."""

    def __init__(self) -> None:
        self.cells: Tensor | None = None

    def at(self, features: Tensor) -> Tensor:
        """Return the cells at the size of features: `(N, 1, h, w)` bool."""
        assert self.cells is not None
        factor = features.shape[-1] // self.cells.shape[-1]
        return self.cells.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


class MaskedAutoencoder(nn.Module):
    """Restores images of which the encoder sees some cells only.

    Hidden positions are zero again after every convolution and every batch norm. Batch norms
    take their statistics from visible positions alone, in the running values too.

    Args:
        encoder: is changed in place, and has the same weights and names as before
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.visible = Visible()
        for layer in encoder.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(partial(_hide, self.visible))
            elif isinstance(layer, nn.BatchNorm2d):
                normalise = partial(_normalise_visible, self.visible, layer)
                layer.forward = normalise  # type: ignore[method-assign]
        used = encoder.channels[1:]
        self.tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, c, 1, 1)) for c in used)
        *skips, below = used
        stages = []
        for skip, width in zip(reversed(skips), DECODER_WIDTHS, strict=True):
            stages.append(UpStage(below, skip, width))
            below = width
        self.decoder = nn.ModuleList(stages)
        self.head = nn.Conv2d(below, 3 * OUTPUT_STRIDE**2, kernel_size=1)

    def encode(self, images: Tensor, cells: Tensor) -> list[Tensor]:
        """Return the features of the visible cells, and zeros in the others."""
        self.visible.cells = cells
        return self.encoder(images * self.visible.at(images))

    def forward(self, images: Tensor, cells: Tensor) -> Tensor:
        """Restore images.

        Args:
            images: `(N, 3, H, W)` normalised RGB
            cells: `(N, 1, H/32, W/32)` bool, True where the encoder sees the image

        Returns:
            `(N, 3, H, W)`, in the units of `normalise_cells`
        """
        features = self.encode(images, cells)[1:]
        *skips, x = (
            torch.where(self.visible.at(feature), feature, token)
            for feature, token in zip(features, self.tokens, strict=True)
        )
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        return F.pixel_shuffle(self.head(x), OUTPUT_STRIDE)


def draw_cells(
    count: int, height: int, width: int, hidden_share: float, rng: np.random.Generator
) -> Tensor:
    """Draw which cells are visible: `(count, 1, height, width)` bool.

    Each image hides the same number of cells, rounded, and leaves at least one visible.
    """
    total = height * width
    hidden = min(round(hidden_share * total), total - 1)
    order = rng.permuted(np.tile(np.arange(total), (count, 1)), axis=1)
    return torch.from_numpy(order >= hidden).reshape(count, 1, height, width)


def normalise_cells(images: Tensor) -> Tensor:
    """Give each cell the mean 0 and the variance 1 over its pixels and channels."""
    count, channels, height, width = images.shape
    rows, columns = height // CELL_PX, width // CELL_PX
    cells = images.reshape(count, channels, rows, CELL_PX, columns, CELL_PX)
    variance, mean = torch.var_mean(cells, dim=(1, 3, 5), correction=0, keepdim=True)
    return ((cells - mean) / (variance + VARIANCE_FLOOR).sqrt()).reshape(images.shape)


def restoration_loss(restored: Tensor, images: Tensor, scored: Tensor) -> Tensor:
    """Return the mean squared error in scored cells, against `normalise_cells`.

    Args:
        scored: `(N, 1, H/32, W/32)` bool; the cells that are hidden, as a rule
    """
    error = (restored - normalise_cells(images)).square().mean(1, keepdim=True)
    return F.avg_pool2d(error, CELL_PX)[scored].mean()


def _hide(visible: Visible, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output * visible.at(output)


def _normalise_visible(visible: Visible, layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply a batch norm to the visible positions, as if there were no others."""
    seen = visible.at(x)[:, 0]
    rows = x.permute(0, 2, 3, 1)
    values = nn.BatchNorm2d.forward(layer, rows[seen][:, :, None, None])[:, :, 0, 0]
    result = torch.zeros_like(rows).masked_scatter(seen[..., None], values.to(rows.dtype))
    return result.permute(0, 3, 1, 2)
