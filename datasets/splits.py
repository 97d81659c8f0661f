"""Reads the splits of a data folder.

A split is a text file with one `folder/stem` per line. Splits whose names begin with `negatives`
hold images without a lesion, and those that end in `train` are for training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from qlumen.datasets.pairs import Pair, read_names
from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.sources.images import IMAGE_SUFFIXES, image_files

TRAINING = "train"
VALIDATION = "val"
SPLITS = "splits"
NEGATIVES = "negatives"
NEGATIVES_TRAIN = f"{NEGATIVES}_train"
NEGATIVES_SCORE = f"{NEGATIVES}_score"

T = TypeVar("T")


def splits_to_score(root: Path) -> list[str]:
    """Return the sorted names of the splits of pairs in `root/splits` that are not for training.

    Raises:
        DatasetError: there is no such split.
    """
    return _check_names(root, [n for n in _pair_splits(root) if not n.endswith(TRAINING)])


def splits_to_train(root: Path) -> list[str]:
    """Return the sorted names of the splits of pairs in `root/splits` that are for training.

    Raises:
        DatasetError: there is no such split.
    """
    return _check_names(root, [n for n in _pair_splits(root) if n.endswith(TRAINING)])


def negatives_to_score(root: Path) -> list[str]:
    """Return the sorted names of the splits without lesions that are not for training."""
    names = list_splits(root)
    return [n for n in names if is_lesion_free(n) and not n.endswith(TRAINING)]


def is_lesion_free(split: str) -> bool:
    """Check by its name whether a split lists images without a lesion."""
    return split.startswith(NEGATIVES)


def list_splits(root: Path) -> list[str]:
    """Return the sorted names of all lists of `root/splits`."""
    return sorted(path.stem for path in (root / SPLITS).glob("*.txt"))


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
    """Return the files of `folder/stem`: in `folder/images`, and a PNG in `folder/masks`.

    The image is a JPEG `.jpg`, or has another suffix of images if there is none.
    """
    folder, _, stem = name.partition("/")
    base = root / folder
    image = base / "images" / f"{stem}.jpg"
    if not image.is_file():
        others = (image.with_name(f"{stem}{suffix}") for suffix in sorted(IMAGE_SUFFIXES))
        image = next((other for other in others if other.is_file()), image)
    return Pair(name, image, base / "masks" / f"{stem}.png")


def lesion_free_files(root: Path, split: str) -> list[Path]:
    """Return the images of `root/splits/SPLIT.txt`, which show no lesion; [] without that list.

    Raises:
        DatasetError: the list is empty or unreadable
    """
    if not (root / SPLITS / f"{split}.txt").is_file():
        return []
    return [pair_of(root, name).image for name in split_names(root, split)]


def find_images(base: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, by path.

    Raises:
        UsageError: the folder does not exist. DatasetError: it has no image.
    """
    if not base.is_dir():
        raise UsageError(f"no folder {base}")
    folders = [base, *(path for path in base.rglob("*") if path.is_dir())]
    files = sorted(file for folder in folders for file in image_files(folder))
    if not files:
        raise DatasetError(f"no image in {base}; name a folder with images")
    return files


def spread(items: Sequence[T], count: int | None) -> list[T]:
    """Take at most `count` items, evenly spread over all; None takes all."""
    if count is None or count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _pair_splits(root: Path) -> list[str]:
    return [name for name in list_splits(root) if not is_lesion_free(name)]


def _check_names(root: Path, names: list[str]) -> list[str]:
    if not names:
        raise DatasetError(f"no split in {root / SPLITS}; point --data at the folder of {SPLITS}/")
    return names
