"""Reads and writes Label Studio's JSON: polygons in percent, and reads brushes."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from pydantic import AliasChoices, Field

from qlumen.datasets.formats.files import Record, find_file, read_json
from qlumen.datasets.formats.shapes import LESION, Item, Sample, Shape, draw_polygons, trace
from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.system.files import write_json

TASKS = "tasks.json"
TOOLS = ("polygon", "brush", "rectangle", "ellipse", "keypoint", "vector")
RGBA, HALF = 4, 128


class Value(Record):
    labels: tuple[str, ...] = Field(
        default=(), validation_alias=AliasChoices(*(f"{tool}labels" for tool in TOOLS))
    )
    points: tuple[tuple[float, float], ...] = ()
    rle: tuple[int, ...] = ()


class Meta(Record):
    track_id: int | None = None


class Region(Record):
    type: str
    value: Value = Value()
    original_width: int = 0
    original_height: int = 0
    image_rotation: float = 0
    meta: Meta = Meta()


class Result(Record):
    result: list[Region]
    was_cancelled: bool = False


class Data(Record):
    image: str
    group: str = ""


class Task(Record):
    data: Data
    annotations: tuple[Result, ...] = ()


def read_label_studio(source: Path, images: Path) -> list[Sample]:
    """Read the tasks of an export in JSON; the track is `meta.track_id` of a region."""
    path = find_file(source, ".json")
    tasks: list[Task] = read_json(path, list[Task])
    return [_read_task(f"{path}: {number}", task) for number, task in enumerate(tasks)]


def write_label_studio(items: Iterable[Item], folder: Path) -> None:
    """Write `tasks.json` with a polygon for each outline."""
    tasks = []
    for item in items:
        regions = [
            {
                "type": "polygonlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": item.size[0],
                "original_height": item.size[1],
                "image_rotation": 0,
                "value": {
                    "points": (outline * 100 / item.size).tolist(),
                    "closed": True,
                    "polygonlabels": [LESION],
                },
                "meta": {} if track is None else {"track_id": track},
            }
            for mask, track in item.objects
            for outline in trace(mask)
        ]
        data = {"image": item.file, "group": item.group}
        tasks.append({"data": data, "annotations": [{"result": regions}]})
    write_json(folder / TASKS, tasks)


def _read_task(place: str, task: Task) -> Sample:
    given = [one for one in task.annotations if not one.was_cancelled]
    if len(given) > 1:
        raise DatasetError(f"{place}: has {len(given)} annotations; keep one of them")
    regions = given[0].result if given else []
    shapes = [
        _read_region(f"{place}.result.{number}", one)
        for number, one in enumerate(regions)
        if one.type.endswith("labels")
    ]
    sizes = {(one.original_width, one.original_height) for one in regions if one.original_width}
    if len(sizes) > 1:
        raise DatasetError(f"{place}: its regions name images of several sizes")
    file = unquote(task.data.image.partition("?d=")[2] or task.data.image)
    return Sample(file, shapes, min(sizes, default=None), task.data.group)


def _read_region(place: str, region: Region) -> Shape:
    label = region.value.labels[0] if region.value.labels else region.type
    return Shape(label, place, partial(_draw, region), region.meta.track_id)


def _draw(region: Region, width: int, height: int) -> Mask:
    if region.image_rotation:
        raise ValueError("the image was turned; turn it back")
    if region.type == "brushlabels":
        return draw_brush(region.value.rle, width, height)
    if region.type != "polygonlabels":
        raise ValueError(f"{region.type} do not say what is lesion; draw a polygon or a brush")
    return draw_polygons([np.array(region.value.points) * (width, height) / 100], width, height)


def draw_brush(stored: Sequence[int], width: int, height: int) -> Mask:
    """Draw a brush's opacity, from half on, as a mask; raise ValueError if it is malformed.

    `stored` are bytes of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack: the
    number of values (32 bits), the bits of a value less 1 (5), four sizes of a run less 1 (4 each),
    then runs: a bit, 1 if all values are the same, the number of the size (2 bits), the length less
    1, and the value or the values.
    """
    bits = _Bits(stored)
    total, word = bits.take(32), bits.take(5) + 1
    sizes = [bits.take(4) + 1 for _ in range(4)]
    if total != width * height * RGBA:
        raise ValueError(f"a brush has {total} values, an image of {width}x{height} 4 a pixel")
    values = np.zeros(total, np.uint32)
    place = 0
    while place < total:
        same, size = bits.take(1), sizes[bits.take(2)]
        end = place + bits.take(size) + 1
        if end > total:
            raise ValueError("a brush has too many values")
        values[place:end] = (
            bits.take(word) if same else [bits.take(word) for _ in range(place, end)]
        )
        place = end
    return (values[RGBA - 1 :: RGBA] >= HALF).reshape(height, width).astype(np.uint8)


class _Bits:
    """Takes numbers from bytes; raises ValueError at their end."""

    def __init__(self, stored: Sequence[int]) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in bytes(stored))
        self._place = 0

    def take(self, count: int) -> int:
        taken = self._bits[self._place : self._place + count]
        if len(taken) < count:
            raise ValueError("a brush ends too early")
        self._place += count
        return int(taken, 2)
