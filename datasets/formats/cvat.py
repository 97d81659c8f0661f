"""Reads and writes CVAT for images 1.1, and reads the tracks of CVAT for video 1.1."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.formats.files import find_file, read_xml
from qlumen.datasets.formats.shapes import (
    LESION,
    Item,
    Points,
    Sample,
    Shape,
    draw_polygons,
    draw_runs,
    trace,
)
from qlumen.errors import DatasetError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sources.images import image_files

ANNOTATIONS = "annotations.xml"
OUTLINES = ("polygon", "mask")
OTHERS = ("box", "polyline", "points", "ellipse", "cuboid", "skeleton")
FRAME = re.compile(r"frame_(\d{1,9})")


def read_cvat(source: Path, images: Path) -> list[Sample]:
    """Read the images of a CVAT file, or a video's tracks for the frames among `images`.

    `frame_000012.png` is frame 12 of a video. Files with other names count in natural order. Tracks
    are interpolated; a lesion that is occluded stays, one that is outside does not.
    """
    path = find_file(source, ".xml")
    root = read_xml(path)
    stills, tracks = root.findall("image"), root.findall("track")
    if tracks and not stills:
        return _read_video(path, tracks, images)
    return [_read_still(path, still) for still in stills]


def write_cvat(items: Iterable[Item], folder: Path) -> None:
    """Write `annotations.xml` with polygons; the track is the attribute `track_id`."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    for number, item in enumerate(items):
        width, height = map(str, item.size)
        still = SubElement(root, "image", id=str(number), name=item.file, width=width,
                           height=height)  # fmt: skip
        for mask, track in item.objects:
            for outline in trace(mask):
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline)
                shape = SubElement(still, "polygon", label=LESION, source="manual", occluded="0",
                                   points=points, z_order="0")  # fmt: skip
                if track is not None:
                    SubElement(shape, "attribute", name="track_id").text = str(track)
    ElementTree(root).write(folder / ANNOTATIONS, encoding="utf-8", xml_declaration=True)


def _read_still(path: Path, still: Element) -> Sample:
    file = still.get("name", "")
    place = f"{path}: image {file[:100]!r}"
    shapes = []
    for number, one in enumerate(one for one in still if one.tag in OUTLINES + OTHERS):
        where = f"{place}, shape {number} ({one.tag})"
        track = one.findtext("attribute[@name='track_id']") or None
        draw = partial(_draw, one)
        shapes.append(Shape(one.get("label", ""), where, draw, _number(track, where)))
    size = _number(still.get("width"), place), _number(still.get("height"), place)
    return Sample(file, shapes, None if None in size else size)  # type: ignore[arg-type]


def _read_video(path: Path, tracks: Sequence[Element], images: Path) -> list[Sample]:
    files = image_files(images)
    named = [FRAME.fullmatch(file.stem) for file in files]
    numbers = [int(m[1]) for m in named if m] if all(named) else list(range(len(files)))
    shapes: dict[int, list[Shape]] = {number: [] for number in numbers}
    for track in tracks:
        name, label = _number(track.get("id"), f"{path}: track"), track.get("label", "")
        place = f"{path}: track {name}"
        keys = {}
        for one in track:
            frame = _number(one.get("frame"), place)
            if frame is None or frame in keys or one.tag not in OUTLINES + OTHERS:
                raise DatasetError(f"{place}: a {one.tag} has no frame, or that of another")
            keys[frame] = one
        frames = sorted(keys)
        for number in shapes:
            before = bisect_right(frames, number)
            if before == 0 or keys[frames[before - 1]].get("outside") == "1":
                continue
            start, end = frames[before - 1], frames[min(before, len(frames) - 1)]
            share = (number - start) / (end - start) if end > start else 0
            draw = partial(_draw_between, keys[start], keys[end], share)
            shapes[number].append(Shape(label, f"{place}, frame {number}", draw, name))
    found = zip(files, numbers, strict=True)
    return [Sample(file.name, shapes[number], None, path.stem) for file, number in found]


def _draw(one: Element, width: int, height: int) -> Mask:
    if one.tag == "polygon":
        return draw_polygons([_read_points(one)], width, height)
    if one.tag == "mask":
        return _draw_mask(one, width, height)
    _refuse(one)


def _draw_between(start: Element, end: Element, share: float, width: int, height: int) -> Mask:
    if share == 0 or start.tag != "polygon" or end.tag != "polygon":
        return _draw(start, width, height)
    points = interpolate(_read_points(start), _read_points(end), share)
    return draw_polygons([points], width, height)


def _refuse(one: Element) -> NoReturn:
    raise ValueError(f"a {one.tag} does not say what is lesion; draw a polygon or a mask")


def _draw_mask(one: Element, width: int, height: int) -> Mask:
    left, top, inner_width, inner_height = (
        int(one.get(name, "-1")) for name in ("left", "top", "width", "height")
    )
    if (
        min(left, top, inner_width, inner_height) < 0
        or left + inner_width > width
        or top + inner_height > height
    ):
        raise ValueError(f"a mask lies outside of {width}x{height}")
    counts = [int(value) for value in one.get("rle", "").split(",")]
    mask = np.zeros((height, width), np.uint8)
    inner = draw_runs(counts, "C", inner_width, inner_height)
    mask[top : top + inner_height, left : left + inner_width] = inner
    return mask


def interpolate(start: Points, end: Points, share: float) -> Points:
    """Return the outline at a share of the way from one key frame's to the next one's.

    Like CVAT, each corner goes to the one that is nearest in its share of the length around, and
    corners of the end that nothing goes to come from the nearest of the start. CVAT then drops
    corners that lie close together; here they stay.
    """
    a, b = _shares(start), _shares(end)
    start, end = np.concatenate([start, start[:1]]), np.concatenate([end, end[:1]])
    there = _nearest(a, b)
    missed = np.setdiff1d(np.arange(len(b)), there)
    back = zip(_nearest(b[missed], a).tolist(), missed.tolist(), strict=True)
    pairs = sorted([*enumerate(there.tolist()), *back])
    left, right = np.array(pairs).T
    points: Points = start[left] + (end[right] - start[left]) * share
    return points[:-1]


def _shares(points: Points) -> NDArray[np.float64]:
    """Return the share of the length around at which each point lies, and 1 for the way back."""
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    return np.concatenate([[0.0], np.cumsum(steps) / (steps.sum() or 1)])


def _nearest(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place of the nearest of sorted numbers for each value; the first of equals."""
    after = np.searchsorted(among, values).clip(1, len(among) - 1)
    return after - (values - among[after - 1] <= among[after] - values)


def _read_points(one: Element) -> Points:
    pairs = [pair.split(",") for pair in one.get("points", "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("points must be x,y;x,y;...")
    return np.array([[float(x), float(y)] for x, y in pairs])


def _number(text: str | None, place: str) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise DatasetError(f"{place}: {text[:20]!r} is no whole number") from None  # type: ignore[index]
