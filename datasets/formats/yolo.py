"""Reads and writes YOLO labels of outlines: lines with a class and shares of width and height."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from qlumen.datasets.formats.files import read_text
from qlumen.datasets.formats.shapes import LESION, Item, Points, Sample, Shape, draw_polygons, trace
from qlumen.datasets.splits import find_images
from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask

DATA, LABELS = "data.yaml", "labels"


def read_yolo(source: Path, images: Path) -> list[Sample]:
    """Read the labels of all images; an image without a file of labels shows no lesion.

    The labels of `.../images/x/1.jpg` are in `.../labels/x/1.txt`, and the names of the classes in
    `data.yaml`, in the source or in the folder above it.
    """
    data = source / DATA
    names = _read_names(data if data.is_file() else source.parent / DATA)
    samples = []
    for image in find_images(images):
        labels = _labels_of(image)
        lines = read_text(labels).splitlines() if labels.is_file() else []
        shapes = [
            _read_line(line, f"{labels}, line {number}", names)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        samples.append(Sample(image.as_posix(), shapes))
    return samples


def write_yolo(items: Iterable[Item], folder: Path) -> None:
    """Write `data.yaml` and `labels/STEM.txt`, a line for each outline."""
    (folder / LABELS).mkdir()
    for item in items:
        lines = [
            " ".join(["0", *(f"{value:.6f}" for value in (outline / item.size).ravel())])
            for mask, _ in item.objects
            for outline in trace(mask)
        ]
        label = (folder / LABELS / item.file).with_suffix(".txt")
        label.write_text("".join(f"{line}\n" for line in lines))
    content = {"train": "images", "val": "images", "names": {0: LESION}}
    (folder / DATA).write_text(yaml.safe_dump(content, sort_keys=False))


def _labels_of(image: Path) -> Path:
    head, found, tail = image.absolute().as_posix().rpartition("/images/")
    folder = Path(head, LABELS)
    if not found or not folder.is_dir():
        raise DatasetError(f"{image} is in no folder images with a folder {LABELS} beside it")
    return (folder / tail).with_suffix(".txt")


def _read_names(path: Path) -> dict[str, str]:
    """Return the names of the classes by their number, as text."""
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DatasetError(f"{path}: {' '.join(str(error).split())}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(one, str) for one in names.values()):
        raise DatasetError(f"{path}: names must be the names of the classes")
    return {str(number): name for number, name in names.items()}


def _read_line(line: str, place: str, names: dict[str, str]) -> Shape:
    number, *values = line.split()
    if number not in names:
        raise DatasetError(f"{place}: {DATA} has no class {number[:20]}")
    try:
        points = [float(value) for value in values]
    except ValueError as error:
        raise DatasetError(f"{place}: {error}") from None
    if len(points) < 6 or len(points) % 2:
        raise DatasetError(f"{place}: {len(points)} numbers are no outline of x and y")
    return Shape(names[number], place, partial(_draw, np.reshape(points, (-1, 2))))


def _draw(shares: Points, width: int, height: int) -> Mask:
    return draw_polygons([shares * (width, height)], width, height)
