"""Chooses the images for the ranges of an INT8 network, and reads them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.pairs import view_image
from qlumen.datasets.splits import (
    NEGATIVES_TRAIN,
    lesion_free_files,
    split_pairs,
    splits_to_train,
    spread,
)
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.preprocess import Preprocessor

IMAGE_COUNT = 180
"""Default number. More images changed no figure on validation."""
LESION_FREE_SHARE = 1 / 3


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationImages:
    """Holds the images for the ranges, and the names of their files in order.

    Attributes:
        images: `(H, W, 3) uint8` BGR each, at the network's input size
    """

    names: tuple[str, ...]
    images: tuple[Image, ...]

    def names_sha256(self) -> str:
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()


def read_calibration_images(
    data: Path, preprocess: Preprocessor, count: int = IMAGE_COUNT
) -> CalibrationImages:
    """Read images of the training side, two thirds with lesions and one third without.

    Both parts are evenly spread over their lists and prepared as in replay. No image is in a list
    for validation or scoring.

    Raises:
        DatasetError: the split's list or a file is missing or unreadable
    """
    free = spread(lesion_free_files(data, NEGATIVES_TRAIN), round(count * LESION_FREE_SHARE))
    pairs = [pair for split in splits_to_train(data) for pair in split_pairs(data, split)]
    ill = spread([pair.image for pair in pairs], count - len(free))
    files = [*ill, *free]
    images = tuple(preprocess(BgrImage(view_image(file))) for file in files)
    return CalibrationImages(tuple(file.name for file in files), images)
