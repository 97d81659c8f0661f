"""Labels frames by their likeness to a few outlined ones, and repairs the labels of unsure frames.

The method is that of SemiSAM-O1 (arXiv 2604.24109), changed for frames that are not aligned: cells
vote for cells. A cell is a square of 16x16 px of the network's input.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.errors import DatasetError
from qlumen.networks.encoder import MEAN, STD, Encoder
from qlumen.networks.unet import OUTPUT_STRIDE
from qlumen.training.batches import to_batch
from qlumen.training.data import Dataset, resize_pairs

Floats = NDArray[np.float32]
CELL_PX = 16
CELL_SIDE = CELL_PX // OUTPUT_STRIDE
"""Side of a cell in pixels of the network's map."""
NEIGHBOURS = 5
UNSURE_QUANTILE = 0.9
IMAGES_AT_ONCE, CELLS_AT_ONCE = 8, 64
KMEANS_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """Holds centres of unit length, `(K, D)`, of the cells of lesions and of the background."""

    lesion: Floats
    background: Floats

    def label(self, cells: Floats) -> NDArray[np.bool_]:
        """Return where the nearest centre by cosine is one of a lesion: `(...)` for `(..., D)`."""
        lesion, background = (
            (cells @ centres.T).max(-1) for centres in (self.lesion, self.background)
        )
        return np.asarray(lesion > background)


def fit_prototypes(
    cells: Floats, is_lesion: NDArray[np.bool_], centres: tuple[int, int] = (4, 8)
) -> Prototypes:
    """Find the k-means centres of the cells, `(n, D)`, of lesions and of the background.

    Args:
        is_lesion: `(n,)`
        centres: largest number of centres of lesions and of the background; one each is the
            published method

    Raises:
        DatasetError: no cell, or each cell, is of a lesion
    """
    if is_lesion.all() or not is_lesion.any():
        kind = "nothing but lesions" if is_lesion.any() else "no lesion"
        raise DatasetError(f"the outlined images show {kind}; add images that show both")
    groups = (cells[is_lesion], cells[~is_lesion])
    lesion, background = (_centres(g, k) for g, k in zip(groups, centres, strict=True))
    return Prototypes(lesion, background)


@torch.no_grad()
def describe_cells(encoder: Encoder, data: Dataset, size: int) -> Floats:
    """Return the features of the cells of images, `(N, size / 16, size / 16, D)`, of unit length.

    They are the encoder's maps at strides 16 and 8, the latter averaged over 2x2, each of unit
    length: 152 values for Lite0.
    """
    parts = []
    for images in _batches(data, size):
        _, _, middle, deep, _ = encoder(images)
        joined = torch.cat([F.normalize(part) for part in (F.avg_pool2d(middle, 2), deep)], 1)
        parts.append((joined / sqrt(2)).permute(0, 2, 3, 1))
    return np.asarray(torch.cat(parts).numpy())


@torch.no_grad()
def predict_maps(network: nn.Module, data: Dataset, size: int) -> Floats:
    """Return the network's probabilities of images, `(N, size / 2, size / 2)`."""
    maps = [network(images).sigmoid()[:, 0] for images in _batches(data, size)]
    return np.asarray(torch.cat(maps).numpy())


def reduce_masks(masks: NDArray[np.uint8], grid: int) -> NDArray[np.bool_]:
    """Reduce masks `(N, S, S)` to cells `(N, grid, grid)`: a cell is of what covers most of it.

    A lesion that covers no cell so far takes the one that it covers most.
    """
    share = F.adaptive_avg_pool2d(torch.from_numpy(masks).float()[:, None], grid)[:, 0].numpy()
    most = share.max((1, 2), keepdims=True)
    return np.asarray((share >= 0.5) | ((share == most) & (most > 0) & (most < 0.5)))


def spread_cells(cells: NDArray[np.bool_]) -> Floats:
    """Enlarge labels of cells to maps by nearest pixel."""
    return cells.repeat(CELL_SIDE, axis=1).repeat(CELL_SIDE, axis=2).astype(np.float32)


def mean_entropy(maps: Floats) -> NDArray[np.float64]:
    """Return the mean entropy of the pixels of each map, in bits: `(N,)`."""
    p = np.clip(maps.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean((1, 2)))


def are_unsure(
    entropy: NDArray[np.float64], quantile: float = UNSURE_QUANTILE
) -> NDArray[np.bool_]:
    """Return which frames are at or above a quantile; above 1 none is, at 1 the most unsure is."""
    if quantile > 1:
        return np.zeros(len(entropy), bool)
    return np.asarray(entropy >= np.quantile(entropy, quantile))


def repair(
    maps: Floats, cells: Floats, unsure: NDArray[np.bool_], neighbours: int = NEIGHBOURS
) -> Floats:
    """Replace the maps of unsure frames by the vote of the most similar cells of sure frames.

    A cell votes with its pixels, lesion or not, and weighs as much as its cosine if that is above
    0. Without a sure frame nothing changes.

    Args:
        maps: `(N, 8 g, 8 g)` probabilities
        cells: `(N, g, g, D)` features of unit length
        unsure: `(N,)`

    Returns:
        the maps; a repaired one holds shares of votes
    """
    grid = cells.shape[1]
    sure = torch.from_numpy(cells[~unsure]).flatten(0, 2)
    patches = torch.from_numpy(_cut(maps[~unsure] >= 0.5, grid))
    result = maps.copy()
    for row in np.flatnonzero(unsure) if len(sure) else ():
        own = torch.from_numpy(cells[row]).flatten(0, 1)
        votes = [_vote(part, sure, patches, neighbours) for part in own.split(CELLS_AT_ONCE)]
        result[row] = _join(torch.cat(votes).numpy(), grid)
    return result


def _vote(own: Tensor, sure: Tensor, patches: Tensor, neighbours: int) -> Tensor:
    weights, near = (own @ sure.T).topk(min(neighbours, len(sure)))
    weights = weights.clamp(min=0)[..., None]
    return (weights * patches[near]).sum(1) / weights.sum(1).clamp(min=1e-9)


def _cut(maps: NDArray[np.bool_], grid: int) -> NDArray[np.bool_]:
    """Cut maps `(N, 8 g, 8 g)` to the pixels of each cell, `(N g g, 64)`."""
    squares = maps.reshape(-1, grid, CELL_SIDE, grid, CELL_SIDE).swapaxes(2, 3)
    return squares.reshape(-1, CELL_SIDE**2)


def _join(pixels: Floats, grid: int) -> Floats:
    squares = pixels.reshape(grid, grid, CELL_SIDE, CELL_SIDE).swapaxes(1, 2)
    return squares.reshape(grid * CELL_SIDE, grid * CELL_SIDE)


def _centres(cells: Floats, count: int) -> Floats:
    found = _unit(cells)
    found, _ = kmeans2(found, min(count, len(found)), minit="++", rng=KMEANS_SEED)
    return _unit(found.astype(np.float32))


def _unit(cells: Floats) -> Floats:
    return cells / np.maximum(np.linalg.norm(cells, axis=-1, keepdims=True), 1e-12)


def _batches(data: Dataset, size: int) -> Iterator[Tensor]:
    """Yield images as the network takes them, `(n, 3, size, size)`."""
    for start in range(0, len(data), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        images, masks = resize_pairs(data.images[part], data.masks[part], size)
        yield (to_batch(data.names[part], images, masks).images.float() - MEAN) / STD
