"""Lists the images of a data folder whose errors are collected."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.groups import Origin, read_origins
from qlumen.datasets.pairs import Pair
from qlumen.datasets.splits import (
    is_lesion_free,
    negatives_to_score,
    pair_of,
    split_names,
    splits_to_score,
)
from qlumen.errors import DatasetError


@dataclass(frozen=True, slots=True)
class AuditImage:
    """Describes one image to judge.

    Attributes:
        pair: files; that of the mask is not read if the image shows no lesion
        split: first list that names the image
    """

    pair: Pair
    split: str
    origin: Origin

    @property
    def lesion_free(self) -> bool:
        return is_lesion_free(self.split)


def list_images(root: Path, splits: Sequence[str] = ()) -> list[AuditImage]:
    """List the images of some splits, each image once, in the order of the lists.

    Args:
        root: folder with `splits/`, and for each data set a folder with `images` and `masks`
        splits: names of lists; without any, all that are not for training

    Raises:
        DatasetError: a list, an image or a mask is missing, or an index is malformed
    """
    splits = splits or [*splits_to_score(root), *negatives_to_score(root)]
    places: dict[str, str] = {}
    for split in splits:
        for name in split_names(root, split):
            places.setdefault(name, split)
    origins = read_origins(root, list(places))
    images = [AuditImage(pair_of(root, one.name), places[one.name], one) for one in origins]
    for one in images:
        for path in (one.pair.image, *(() if one.lesion_free else (one.pair.mask,))):
            if not path.is_file():
                raise DatasetError(
                    f"split {one.split} names {one.pair.name}, but {path} is missing"
                )
    return images
