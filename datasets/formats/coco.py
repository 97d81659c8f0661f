"""Reads and writes COCO instances: outlines and run lengths."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from qlumen.datasets.formats.files import Record, find_file, read_json
from qlumen.datasets.formats.shapes import (
    LESION,
    Item,
    Sample,
    Shape,
    draw_polygons,
    draw_runs,
    read_counts,
)
from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.system.files import write_json

ANNOTATIONS = "annotations.json"


class Runs(Record):
    size: tuple[int, int]
    counts: str | list[int]


class Category(Record):
    id: int
    name: str


class CocoImage(Record):
    id: int
    file_name: str
    width: int
    height: int
    group: str = ""


class Attributes(Record):
    track_id: int | None = None


class Annotation(Record):
    image_id: int
    category_id: int
    segmentation: Runs | tuple[list[float], ...] = ()
    track_id: int | None = None
    attributes: Attributes = Attributes()


class Coco(Record):
    categories: list[Category]
    images: list[CocoImage]
    annotations: list[Annotation]


def read_coco(source: Path, images: Path) -> list[Sample]:
    """Read a COCO file, or the only one in a folder.

    The track is `track_id` of an annotation, or of its attributes, as CVAT writes it.
    """
    path = find_file(source, ".json")
    content: Coco = read_json(path, Coco)
    labels = {one.id: one.name for one in content.categories}
    shapes: dict[int, list[Shape]] = {one.id: [] for one in content.images}
    if len(shapes) < len(content.images):
        raise DatasetError(f"{path}: images: two have the same id")
    for number, one in enumerate(content.annotations):
        place = f"{path}: annotations.{number}"
        if one.image_id not in shapes or one.category_id not in labels:
            raise DatasetError(f"{place}: its image or its category is not in the file")
        track = one.track_id if one.track_id is not None else one.attributes.track_id
        draw = partial(_draw, one.segmentation)
        shapes[one.image_id].append(Shape(labels[one.category_id], place, draw, track))
    return [
        Sample(one.file_name, shapes[one.id], (one.width, one.height), one.group)
        for one in content.images
    ]


def write_coco(items: Iterable[Item], folder: Path) -> None:
    """Write `annotations.json` with run lengths; images also have `group`, objects `track_id`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in enumerate(items, start=1):
        width, height = item.size
        images.append({"id": number, "file_name": item.file, "width": width, "height": height,
                       "group": item.group})  # fmt: skip
        for mask, track in item.objects:
            runs = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                    "bbox": coco_mask.toBbox(runs).tolist(),
                    "area": int(coco_mask.area(runs)),
                    "iscrowd": 0,
                    "track_id": track,
                }
            )
    categories = [{"id": 1, "name": LESION, "supercategory": "lesion"}]
    content = {"categories": categories, "images": images, "annotations": annotations}
    write_json(folder / ANNOTATIONS, content)


def _draw(segmentation: Runs | Sequence[Sequence[float]], width: int, height: int) -> Mask:
    if isinstance(segmentation, Runs):
        if segmentation.size != (height, width):
            raise ValueError(f"its size {segmentation.size} is not that of the image")
        counts = segmentation.counts
        counts = read_counts(counts) if isinstance(counts, str) else counts
        return draw_runs(counts, "F", width, height)
    if any(len(values) % 2 for values in segmentation):
        raise ValueError("an outline has an x without a y")
    return draw_polygons([np.reshape(one, (-1, 2)) for one in segmentation], width, height)
