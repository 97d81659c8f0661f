"""Reads the splits of a data folder, and splits its images without a lesion by their names.

A split is a text file with one `folder/stem` per line.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from qlumen.datasets.pairs import Pair, read_names
from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.sources.images import image_files

TRAINING = "train"
VALIDATION = "val"
SPLITS = "splits"
NEGATIVES = "negatives"
"""Folder of images without a lesion."""

T = TypeVar("T")


def splits_to_score(root: Path) -> list[str]:
    """Return the sorted names of the splits of pairs in `root/splits` that are not trained on.

    Lists for training end in `train`; those of images without a lesion begin with `negatives`.

    Raises:
        DatasetError: there is no such split.
    """
    lists = (path.stem for path in (root / SPLITS).glob("*.txt"))
    names = sorted(n for n in lists if not n.endswith(TRAINING) and not n.startswith(NEGATIVES))
    if not names:
        raise DatasetError(f"no split in {root / SPLITS}; point --data at the folder of {SPLITS}/")
    return names


def split_pairs(root: Path, split: str) -> list[Pair]:
    """Return the pairs of `root/splits/SPLIT.txt`; raise DatasetError if missing or empty."""
    return [pair_of(root, name) for name in split_names(root, split)]


def split_names(root: Path, split: str) -> list[str]:
    """Return the lines of `root/splits/SPLIT.txt`; raise DatasetError if missing or empty."""
    listing = root / SPLITS / f"{split}.txt"
    if not listing.is_file():
        raise DatasetError(f"no split {listing}; point --data at the folder that holds {SPLITS}/")
    names = read_names(listing)
    if not names:
        raise DatasetError(f"{listing} names no image")
    return names


def pair_of(root: Path, name: str) -> Pair:
    """Return the files of `folder/stem`: a JPEG in `folder/images`, a PNG in `folder/masks`."""
    folder, _, stem = name.partition("/")
    base = root / folder
    return Pair(name, base / "images" / f"{stem}.jpg", base / "masks" / f"{stem}.png")


def is_training_negative(stem: str) -> bool:
    """Check whether an image of this name is trained on; the others are only for scoring.

    The first byte of the name's SHA-256 must be even. This selects about half of the images, on
    any machine and whatever else is in the folder.
    """
    return hashlib.sha256(stem.encode()).digest()[0] % 2 == 0


def negative_files(base: Path, *, training: bool | None = None) -> list[Path]:
    """Return the images in a folder and its subfolders, by path; [] if it does not exist.

    Args:
        training: True for images that are trained on, False for the others, None for all.
    """
    if not base.is_dir():
        return []
    folders = [base, *(path for path in base.rglob("*") if path.is_dir())]
    files = sorted(file for folder in folders for file in image_files(folder))
    if training is None:
        return files
    return [file for file in files if is_training_negative(file.stem) == training]


def find_negatives(base: Path, *, held_out: bool) -> list[Path]:
    """Return the images to score, without those that are trained on if `held_out`.

    Raises:
        UsageError: the folder does not exist. DatasetError: it has no image to score.
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
