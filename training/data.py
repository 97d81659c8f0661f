"""Loads images and masks of a split into memory, decoded once."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.masks import MASK_THRESHOLD
from qlumen.datasets.pairs import view_image, view_pair
from qlumen.datasets.splits import find_images, list_splits, pair_of, split_names, spread
from qlumen.realtime.endoscope.field import crop, find_field
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.training.settings import TrainSettings

CACHED_SIZE_PX = 416
"""Side of the images in memory: larger than a training crop, so that zoomed crops stay sharp."""
SCENE_SEED = 100_000
FRAMES_PER_SEED = 30
SCENE_STEP = 40
"""Frames of the scene from one image to the next: 1.6 s."""


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def has_lesion(self) -> NDArray[np.bool_]:
        """Say of each image whether its mask has a lesion: `(N,) bool`."""
        return np.asarray(self.masks.any(axis=(1, 2)))

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
    train = _join(load_split(root, name, limit=limit) for name in settings.train_lists)
    if settings.lesion_free:
        for name in settings.lesion_free_lists:
            free = load_split(root, name, limit=limit, lesion_free=True)
            train = train.join(free.repeat(settings.lesion_free))
    if settings.scene_images:
        train = train.join(render_scene(min(settings.scene_images, limit or sys.maxsize)))
    if not settings.val_lists:
        return train, None
    return train, _join(load_split(root, name, limit=limit) for name in settings.val_lists)


def load_split(
    root: Path,
    split: str,
    size: int = CACHED_SIZE_PX,
    limit: int | None = None,
    *,
    lesion_free: bool = False,
) -> Dataset:
    """Read the images listed in `root/splits/SPLIT.txt`, one `folder/stem` a line.

    Args:
        limit: largest number of images, evenly spread over the list
        lesion_free: the images have no masks, because they show no lesion

    Raises:
        DatasetError: the list or one of its files is missing or unreadable
    """
    names = spread(split_names(root, split), limit)
    images = np.empty((len(names), size, size, 3), np.uint8)
    masks = np.zeros((len(names), size, size), np.uint8)
    for row, name in enumerate(names):
        pair = pair_of(root, name)
        if lesion_free:
            images[row] = _shrink(view_image(pair.image), size)
            continue
        image, mask = view_pair(pair)
        images[row] = _shrink(image, size)
        masks[row] = _shrink(mask * np.uint8(255), size) >= MASK_THRESHOLD
    return Dataset(tuple(names), images, masks)


def unlabelled_data(
    root: Path, lists: Iterable[str], limit: int | None = None, size: int = CACHED_SIZE_PX
) -> Dataset:
    """Load images without their masks; all masks of the result are 0.

    Args:
        lists: lists of `root/splits`, or paths of folders with images
        limit: largest number of images of each list or folder, evenly spread over it

    Raises:
        DatasetError: a list, a folder's image or all images of a folder are missing or unreadable
    """
    known = list_splits(root)
    return _join(
        load_split(root, name, size, limit, lesion_free=True)
        if name in known or not Path(name).is_dir()
        else _load_folder(Path(name), size, limit)
        for name in lists
    )


def _load_folder(folder: Path, size: int, limit: int | None) -> Dataset:
    paths = spread(find_images(folder), limit)
    images = np.stack([_shrink(view_image(path), size) for path in paths])
    names = tuple(
        f"{folder.name}/{path.relative_to(folder).with_suffix('').as_posix()}" for path in paths
    )
    return Dataset(names, images, np.zeros(images.shape[:3], np.uint8))


def render_scene(count: int, size: int = CACHED_SIZE_PX) -> Dataset:
    """Render frames of the scene as the network sees them, two of three without a polyp.

    Every `FRAMES_PER_SEED` frames come from another colon, from `SCENE_SEED` upwards. Scenes that
    are scored have seeds below it.
    """
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    for start in range(0, count, FRAMES_PER_SEED):
        seed = SCENE_SEED + start // FRAMES_PER_SEED
        bare, full = (
            SceneSource(SceneSettings(seed=seed, polyps=p, obstacles=True)) for p in (False, True)
        )
        for row in range(start, min(count, start + FRAMES_PER_SEED)):
            source = full if row % 3 == 0 else bare
            frame = source.frame((row - start) * SCENE_STEP)
            assert frame.truth is not None
            image = frame.image
            box = find_field(image).box
            images[row] = _shrink(crop(image, box), size)
            masks[row] = _shrink(crop(frame.truth, box) * np.uint8(255), size) >= MASK_THRESHOLD
    return Dataset(tuple(f"scene/{row:05}" for row in range(count)), images, masks)


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


def _join(parts: Iterable[Dataset]) -> Dataset:
    first, *others = parts
    for other in others:
        first = first.join(other)
    return first
