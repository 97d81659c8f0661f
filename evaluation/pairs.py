"""Images and the masks that belong to them, found by file name."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from natsort import natsorted

from qlumen.realtime.errors import DatasetError, UsageError
from qlumen.realtime.frames import Image, Mask

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MASK_THRESHOLD = 128
"""Masks stored as JPEG or with grey borders are split at half of white."""


@dataclass(frozen=True, slots=True)
class Pair:
    name: str
    image: Path
    mask: Path


def find_pairs(images: Path, masks: Path, listing: Path | None = None) -> list[Pair]:
    """Pair files of two folders by stem, in natural order, or in that of `listing`.

    Args:
        listing: text file with a stem, or `folder/stem`, a line.

    Raises:
        UsageError: a folder or the list does not exist.
        DatasetError: an image without a mask, a listed name without an image, no pair.
    """
    found, truths = _by_stem(images), _by_stem(masks)
    names = _listed(listing) if listing else natsorted(found)
    pairs = []
    for name in names:
        if name not in found:
            raise DatasetError(f"{listing} names {name}, and {images} has no such image")
        if name not in truths:
            raise DatasetError(f"{found[name]} has no mask {name}.* in {masks}")
        pairs.append(Pair(name, found[name], truths[name]))
    if not pairs:
        raise DatasetError(f"no image to evaluate in {listing or images}")
    return pairs


def read_pair(pair: Pair) -> tuple[Image, Mask]:
    """`(H, W, 3) uint8` BGR and `(H, W) uint8` of 0 and 1.

    Raises:
        DatasetError: a file is no image, or the two sizes differ.
    """
    image = _read(pair.image, cv2.IMREAD_COLOR)
    mask = _read(pair.mask, cv2.IMREAD_GRAYSCALE)
    if image.shape[:2] != mask.shape:
        (h, w), (mask_h, mask_w) = image.shape[:2], mask.shape
        raise DatasetError(f"{pair.mask} is {mask_w}x{mask_h}, its image {w}x{h}")
    return image, (mask >= MASK_THRESHOLD).astype(np.uint8)


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}


def _listed(listing: Path) -> list[str]:
    if not listing.is_file():
        raise UsageError(f"no list {listing}")
    lines = listing.read_text(encoding="utf-8").splitlines()
    return [line.strip().rpartition("/")[2] for line in lines if line.strip()]


def _read(path: Path, mode: int) -> np.ndarray:
    image = cv2.imdecode(np.fromfile(path, np.uint8), mode) if path.stat().st_size else None
    if image is None:
        raise DatasetError(f"{path} is not a readable image")
    return image
