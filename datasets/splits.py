"""The splits of a data folder: lists of `folder/stem`, a text file each."""

from pathlib import Path

from qlumen.datasets.pairs import Pair
from qlumen.errors import DatasetError

TRAINING = "train"
VALIDATION = "val"
SPLITS = "splits"
NEGATIVES = "negatives"
"""Folder of pictures without a lesion."""


def scored_splits(root: Path) -> list[str]:
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
