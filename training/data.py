"""Loads images and masks of a split into memory, decoded once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.pairs import MASK_THRESHOLD, view_image, view_pair
from qlumen.datasets.splits import (
    NEGATIVES,
    TRAINING,
    VALIDATION,
    negative_files,
    pair_of,
    split_names,
    spread,
)
from qlumen.training.settings import TrainSettings

CACHED_SIZE_PX = 416
"""Side of the images in memory: larger than a training crop, so that zoomed crops stay sharp."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Holds images with their masks.

    Attributes:
        names: `folder/stem` of each image
        images: `(N, S, S, 3) uint8` BGR, stretched to a square
        masks: `(N, S, S) uint8`, 0 or 1
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)

    def join(self, other: "Dataset") -> "Dataset":
        """Append the images of `other`."""
        return Dataset(
            self.names + other.names,
            np.concatenate([self.images, other.images]),
            np.concatenate([self.masks, other.masks]),
        )

    def repeat(self, times: int) -> "Dataset":
        """Repeat the images in order."""
        rows = np.tile(np.arange(len(self)), times)
        return Dataset(self.names * times, self.images[rows], self.masks[rows])

    def names_sha256(self) -> str:
        """Return the hash of the names in order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()


def training_data(
    root: Path, settings: TrainSettings, limit: int | None = None
) -> tuple[Dataset, Dataset | None]:
    """Load the images that a run trains on, and those that it validates on, if any.

    Args:
        limit: largest number of images of each kind, evenly spread over their lists

    Raises:
        DatasetError: a list or an image is missing or unreadable
    """
    train, val = (load_split(root, split, limit=limit) for split in (TRAINING, VALIDATION))
    free = load_lesion_free(root, limit=limit).repeat(settings.lesion_free)
    if settings.train_on == "all":
        return train.join(val).join(free), None
    return train.join(free), val


def load_split(
    root: Path, split: str, size: int = CACHED_SIZE_PX, limit: int | None = None
) -> Dataset:
    """Read the images listed in `root/splits/SPLIT.txt`, one `folder/stem` a line.

    Args:
        limit: largest number of images, evenly spread over the list

    Raises:
        DatasetError: the list or one of its files is missing or unreadable
    """
    names = spread(split_names(root, split), limit)
    images = np.empty((len(names), size, size, 3), np.uint8)
    masks = np.empty((len(names), size, size), np.uint8)
    for row, name in enumerate(names):
        pair = pair_of(root, name)
        image, mask = view_pair(pair)
        images[row] = _shrink(image, size)
        masks[row] = _shrink(mask * np.uint8(255), size) >= MASK_THRESHOLD
    return Dataset(tuple(names), images, masks)


def load_lesion_free(root: Path, size: int = CACHED_SIZE_PX, limit: int | None = None) -> Dataset:
    """Read the training images without lesion, named `negatives/stem`.

    Args:
        limit: largest number of images, evenly spread over the list

    Raises:
        DatasetError: a file is unreadable
    """
    files = spread(negative_files(root / NEGATIVES, training=True), limit)
    images = np.empty((len(files), size, size, 3), np.uint8)
    for row, file in enumerate(files):
        images[row] = _shrink(view_image(file), size)
    names = tuple(f"{NEGATIVES}/{file.stem}" for file in files)
    return Dataset(names, images, np.zeros((len(files), size, size), np.uint8))


def resize_pairs(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize images by area averaging and masks by nearest pixel, to squares of `size`."""
    shape = (size, size)
    small = [cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in images]
    small_masks = [cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST) for mask in masks]
    return np.stack(small).astype(np.uint8), np.stack(small_masks).astype(np.uint8)


def _shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
