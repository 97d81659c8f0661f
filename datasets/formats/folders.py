"""Reads and writes nnU-Net's raw data sets of natural images, and folders of masks."""

import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from qlumen.datasets.formats.files import Record, read_json, read_png, write_png
from qlumen.datasets.formats.shapes import LESION, Item, Sample, Shape
from qlumen.datasets.masks import read_mask
from qlumen.datasets.pairs import find_pairs, read_bgr
from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sources.images import IMAGE_SUFFIXES, image_files
from qlumen.system.files import write_json

DATASET, IMAGES, LABELS = "dataset.json", "imagesTr", "labelsTr"
CHANNEL = "_0000"
"""End of the name of the first file of a case; a colour image is one file."""
WHITE = 255


class NnUnet(Record):
    labels: dict[str, int | list[int]]
    file_ending: str


def read_nnunet(source: Path, images: Path) -> list[Sample]:
    """Read `imagesTr` and `labelsTr` of a folder `DatasetNNN_NAME`; the labels are in PNG."""
    about: NnUnet = read_json(source / DATASET, NnUnet)
    if about.file_ending.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(
            f"{source / DATASET}: file_ending {about.file_ending[:20]!r} is no image; save as PNG"
        )
    samples = []
    for image in image_files(images):
        case, suffix = image.stem.removesuffix(CHANNEL), image.suffix
        if case == image.stem:
            raise DatasetError(f"{image}: a colour image is one file that ends in {CHANNEL}")
        label = source / LABELS / f"{case}{suffix}"
        values = {name: value for name, value in about.labels.items() if name != "background"}
        shapes = [
            Shape(name, str(label), partial(_draw_label, label, value))
            for name, value in values.items()
            if name != "ignore"
        ]
        samples.append(Sample(image.name, shapes, stem=case))
    return samples


def write_nnunet(items: Iterable[Item], folder: Path) -> None:
    """Write `dataset.json` and the images and labels of training, in PNG."""
    (folder / IMAGES).mkdir()
    (folder / LABELS).mkdir()
    count = 0
    for count, item in enumerate(items, start=1):  # noqa: B007
        case = Path(item.file).stem
        write_png(folder / IMAGES / f"{case}{CHANNEL}.png", read_bgr(item.image))
        write_png(folder / LABELS / f"{case}.png", _union(item))
    channels = {"0": "R", "1": "G", "2": "B"}
    content = {"channel_names": channels, "labels": {"background": 0, LESION: 1},
               "numTraining": count, "file_ending": ".png"}  # fmt: skip
    write_json(folder / DATASET, content)


def read_masks(source: Path, images: Path) -> list[Sample]:
    """Read `masks`, or the folder itself, with the same stems as the images."""
    masks = source / "masks" if (source / "masks").is_dir() else source
    return [
        Sample(pair.image.name, [Shape(LESION, str(pair.mask), partial(_draw_mask, pair.mask))])
        for pair in find_pairs(images, masks)
    ]


def write_masks(items: Iterable[Item], folder: Path) -> None:
    """Write `masks/STEM.png`, 0 and 255."""
    (folder / "masks").mkdir()
    for item in items:
        write_png(folder / "masks" / f"{Path(item.file).stem}.png", _union(item) * WHITE)


def copy_images(items: Iterable[Item], folder: Path) -> Iterable[Item]:
    """Copy each image to `images` as it is passed on."""
    (folder / "images").mkdir()
    for item in items:
        shutil.copyfile(item.image, folder / "images" / item.file)
        yield item


def _union(item: Item) -> Mask:
    mask = np.zeros(item.size[::-1], np.uint8)
    for one, _ in item.objects:
        mask |= one
    return mask


def _draw_label(path: Path, value: int | list[int], width: int, height: int) -> Mask:
    image = read_png(path)
    if image is None:
        raise ValueError("is missing or not an image of one channel")
    return _check(np.isin(image, value).astype(np.uint8), width, height)


def _draw_mask(path: Path, width: int, height: int) -> Mask:
    return _check(read_mask(path), width, height)


def _check(mask: Mask, width: int, height: int) -> Mask:
    if mask.shape != (height, width):
        raise ValueError(f"is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}")
    return mask
