"""The splits of a data folder: lists of `folder/stem`, a text file each, and images without a
lesion, split by their names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from qlumen.datasets.pairs import Pair
from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.sources.images import image_files

TRAINING = "train"
VALIDATION = "val"
SPLITS = "splits"
NEGATIVES = "negatives"
"""Folder of pictures without a lesion."""

T = TypeVar("T")


def splits_to_score(root: Path) -> list[str]:
    """Names of the splits in `root/splits` that are not trained on, by name.

    Raises:
        DatasetError: there is none.
    """
    names = sorted(path.stem for path in (root / SPLITS).glob("*.txt") if path.stem != TRAINING)
    if not names:
        raise DatasetError(f"no split in {root / SPLITS}; point --data at the folder of {SPLITS}/")
    return names


def split_pairs(root: Path, split: str) -> list[Pair]:
    """The files of the images and masks listed in `root/splits/SPLIT.txt`.

    Raises:
        DatasetError: the list is missing or empty.
    """
    return [pair_of(root, name) for name in split_names(root, split)]


def split_names(root: Path, split: str) -> list[str]:
    """The lines of `root/splits/SPLIT.txt`; DatasetError if it is missing or empty."""
    listing = root / SPLITS / f"{split}.txt"
    if not listing.is_file():
        raise DatasetError(f"no split {listing}; point --data at the folder that holds {SPLITS}/")
    names = listing.read_text(encoding="utf-8").split()
    if not names:
        raise DatasetError(f"{listing} names no image")
    return names


def pair_of(root: Path, name: str) -> Pair:
    """The files of `folder/stem`: a JPEG in `folder/images`, a PNG in `folder/masks`."""
    folder, _, stem = name.partition("/")
    base = root / folder
    return Pair(name, base / "images" / f"{stem}.jpg", base / "masks" / f"{stem}.png")


def is_training_negative(stem: str) -> bool:
    """Whether a picture of this name is trained on; the others are only for scoring.

    The first byte of the name's SHA-256 is even: about half, on any machine, whatever else
    lies in the folder.
    """
    return hashlib.sha256(stem.encode()).digest()[0] % 2 == 0


def negative_files(base: Path, *, training: bool | None = None) -> list[Path]:
    """The pictures in a folder and the folders in it, by path; none if it does not exist.

    Args:
        training: only those that are trained on, or only the others.
    """
    if not base.is_dir():
        return []
    folders = [base, *(path for path in base.rglob("*") if path.is_dir())]
    files = sorted(file for folder in folders for file in image_files(folder))
    if training is None:
        return files
    return [file for file in files if is_training_negative(file.stem) == training]


def find_negatives(base: Path, *, held_out: bool) -> list[Path]:
    """The pictures to score.

    Raises:
        UsageError: no such folder. DatasetError: no picture in it.
    """
    if not base.is_dir():
        raise UsageError(f"no folder {base}")
    files = negative_files(base, training=False if held_out else None)
    if not files:
        raise DatasetError(f"no image to evaluate in {base}")
    return files


def spread(items: Sequence[T], count: int | None) -> list[T]:
    """Take at most `count` items, evenly spread over all; None takes all."""
    if count is None or count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
