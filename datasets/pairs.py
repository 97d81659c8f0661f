"""Finds and reads images and the masks that belong to them by file name."""

from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.masks import UNREADABLE, read_mask
from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.endoscope.field import crop, find_field
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.sources.images import IMAGE_SUFFIXES, image_files, read_image


@dataclass(frozen=True, slots=True)
class Pair:
    name: str
    image: Path
    mask: Path


def find_pairs(images: Path, masks: Path, listing: Path | None = None) -> list[Pair]:
    """Pair files of two folders by stem, in natural order or in the order of `listing`.

    Args:
        listing: text file with one stem or file name per line, with or without a folder.

    Raises:
        UsageError: a folder or the list does not exist, or both folders are the same.
        DatasetError: an image has no mask, a listed name has no image, or there is no pair.
    """
    if images.resolve() == masks.resolve():
        raise UsageError(f"images and masks are both in {images}; give two folders")
    found, truths = _by_stem(images), _by_stem(masks)
    names = _read_list(listing) if listing else found
    pairs = []
    for name in names:
        if name not in found:
            raise DatasetError(f"{listing} names {name}, but {images} has no such image")
        if name not in truths:
            raise DatasetError(f"{found[name]} has no mask {name}.* in {masks}")
        pairs.append(Pair(name, found[name], truths[name]))
    if not pairs:
        raise DatasetError(f"no image to evaluate in {listing or images}")
    return pairs


def read_pair(pair: Pair) -> tuple[Image, Mask]:
    """Read a pair as `(H, W, 3) uint8` BGR and `(H, W) uint8` of 0 and 1.

    Raises:
        DatasetError: a file is not an image, the two sizes differ, or see `read_mask`.
    """
    image = read_bgr(pair.image)
    mask = read_mask(pair.mask)
    if image.shape[:2] != mask.shape:
        (h, w), (mask_h, mask_w) = image.shape[:2], mask.shape
        raise DatasetError(f"{pair.mask} is {mask_w}x{mask_h}, its image {w}x{h}")
    return image, mask


def view_pair(pair: Pair) -> tuple[Image, Mask]:
    """Read a pair as the network sees it: image and mask cropped to the endoscope's field.

    Raises:
        DatasetError: same as in `read_pair`.
    """
    image, mask = read_pair(pair)
    box = find_field(image).box
    return crop(image, box), crop(mask, box)


def view_image(path: Path) -> Image:
    """Read an image as the network sees it: cropped to the endoscope's field.

    Raises:
        DatasetError: same as in `read_bgr`.
    """
    image = read_bgr(path)
    return crop(image, find_field(image).box)


def read_bgr(path: Path) -> Image:
    """Read an image as `(H, W, 3) uint8` BGR; raise DatasetError if it is missing or no image."""
    image = read_image(path)
    if image is None:
        raise DatasetError(f"{path} {UNREADABLE}")
    return image


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    found: dict[str, Path] = {}
    for path in image_files(folder):
        if path.stem in found:
            raise DatasetError(f"{folder} has both {found[path.stem].name} and {path.name}")
        found[path.stem] = path
    return found


def read_names(listing: Path) -> list[str]:
    """Return the lines of a list that are not empty, without a byte order mark.

    Raises DatasetError if the list is not UTF-8.
    """
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DatasetError(f"{listing} is not a list of names in UTF-8; save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def _read_list(listing: Path) -> list[str]:
    if not listing.is_file():
        raise UsageError(f"no list {listing}")
    return [_stem(name) for name in read_names(listing)]


def _stem(entry: str) -> str:
    name = entry.rpartition("/")[2]
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name
