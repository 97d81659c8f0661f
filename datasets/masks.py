"""Reads masks of lesions as annotation tools write them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sources.images import read_image

MASK_THRESHOLD = 128
"""Half of white, because masks may be stored as JPEG or have grey borders."""
HALF_OF_16_BITS = 1 << 15
WHITE = 255
SHOWN_VALUES = 4
LOSSY, NOISE = (".jpeg", ".jpg"), 16
"""JPEG changes levels, by less than this near white."""
UNREADABLE = "is missing or not a readable image"

Levels = NDArray[Any]


def read_mask(path: Path) -> Mask:
    """Read a mask as `(H, W) uint8` of 0 and 1; 1 is lesion.

    A pixel's level is the largest of its colours, or its opacity in an image that is black
    otherwise. Of two levels, the one that is not 0 is the lesion: label maps of 0 and 1, dark
    palettes, 8 or 16 bits, but not in JPEG, which changes levels. Of more levels, those from half
    of white on are.

    Raises:
        DatasetError: the file is not an image, or its levels do not say what is lesion: they are
            all dark, all bright, or labels beside white. The message names them.
    """
    levels = _read_levels(path)
    values, lossy = _values(levels), path.suffix.lower() in LOSSY
    if values[0] == 0 and len(values) <= (1 if lossy else 2):
        return (levels > 0).astype(np.uint8)
    half = _half(levels, values[-1])
    below, above = values[values < half], values[values >= half]
    if not above.size:
        problem = f"nothing above {_below(half)}"
    elif below.size == 0 and above.size > 1 and not (lossy and above[0] > WHITE - NOISE):
        problem = f"nothing below {half:g}"
    elif _are_labels(below) and above.tolist() == [WHITE]:
        problem = "labels beside white"
    else:
        return (levels >= half).astype(np.uint8)
    raise DatasetError(
        f"mask {path} holds {problem}, {_list(values)}; write 255 for lesion and 0 for the rest"
    )


def _read_levels(path: Path) -> Levels:
    """Read the level of each pixel, `(H, W)`, as stored."""
    if path.suffix.lower() in LOSSY:
        image = read_image(path)  # as the image beside it: turned as EXIF says
    else:
        try:
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        except (OSError, cv2.error):
            image = None
    if image is None or not np.isfinite(image).all():
        raise DatasetError(f"{path} {UNREADABLE}")
    if image.ndim == 2:
        return image
    if image.shape[2] != 4:
        return image.max(axis=2)
    colour, opacity = image[..., :3].max(axis=2), image[..., 3]
    if not colour.any() and _values(opacity).size > 1:
        return opacity
    return np.where(opacity > 0, colour, 0)


def _values(levels: Levels) -> NDArray[Any]:
    """Return the sorted levels that occur."""
    if levels.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(levels.ravel()))
    return np.unique(levels)


def _half(levels: Levels, most: float) -> float:
    if levels.dtype == np.uint16 and most > WHITE:
        return HALF_OF_16_BITS
    return 0.5 if levels.dtype.kind == "f" and most <= 1 else MASK_THRESHOLD


def _below(half: float) -> str:
    return f"{half - 1:g}" if half > 1 else f"{half:g}"


def _are_labels(below: NDArray[Any]) -> bool:
    """Check for labels 0, 1, ..., of which 255 often means "not annotated"."""
    return below.size > 1 and below.tolist() == list(range(below.size))


def _list(values: NDArray[Any]) -> str:
    if values.size > SHOWN_VALUES:
        return f"{values.size} values from {values[0]:g} to {values[-1]:g}"
    *rest, last = (f"{value:g}" for value in values)
    return f"values {', '.join(rest)} and {last}" if rest else f"only the value {last}"
