"""Draws outlines and run lengths as masks, and traces masks as outlines.

Coordinates are continuous: (0, 0) is the corner of the first pixel and (0.5, 0.5) its centre, as in
COCO, CVAT and Label Studio. A pixel belongs to an outline that holds its centre.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from qlumen.realtime.pixels.arrays import Mask

Points = NDArray[np.float64]
"""Corners of a closed outline, `(N, 2)`: x and y in pixels."""
LESION = "polyp"
"""Name of the class that is written."""
FAR = 4
"""Sides of the image by which an outline may leave it."""
MOST_LENGTH_PX = 4_000_000
"""Longest outline; pycocotools takes 40 bytes a pixel of it."""
TOLERANCES_PX = (1.0, 0.75)
LEAST_IOU = 0.9955
MOST_BITS = 60


@dataclass(frozen=True, slots=True)
class Shape:
    """Holds an outlined object of an image.

    Attributes:
        place: file and place, for messages
        draw: returns the mask `(height, width) uint8` of 0 and 1 from width and height; raises
            ValueError if that cannot be
        track: number of the object in all images of a sequence
    """

    label: str
    place: str
    draw: Callable[[int, int], Mask]
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Holds the annotation of an image.

    Attributes:
        file: the image, as the tool names it
        size: (width, height), if the tool says it
        stem: name for the image; default: the stem of the file
    """

    file: str
    shapes: Sequence[Shape]
    size: tuple[int, int] | None = None
    group: str = ""
    stem: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """Holds an image to write, with the mask and the track of each object.

    Attributes:
        file: name to write; its stem is unique
        image: the file to copy
        size: (width, height)
    """

    file: str
    image: Path
    size: tuple[int, int]
    group: str
    objects: Sequence[tuple[Mask, int | None]]


def draw_polygons(polygons: Sequence[Points], width: int, height: int) -> Mask:
    """Draw the union of closed outlines as `(height, width) uint8` of 0 and 1.

    Raises ValueError if there is no outline, or one is too short, too long or far outside.
    """
    if not polygons:
        raise ValueError("has no outline; a box alone does not say what is lesion")
    for points in polygons:
        if len(points) < 3:
            raise ValueError(f"an outline needs three points, this has {len(points)}")
        if not (np.abs(points) <= FAR * max(width, height)).all():
            raise ValueError(f"a point is no number or far outside of {width}x{height}")
        if np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() > MOST_LENGTH_PX:
            raise ValueError(f"an outline is longer than {MOST_LENGTH_PX:,} px")
    runs = coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], height, width)
    mask: Mask = coco_mask.decode(coco_mask.merge(runs))
    return mask


def draw_runs(counts: Sequence[int], order: str, width: int, height: int) -> Mask:
    """Draw runs of 0 and 1 in turn as a mask; `order` is `F` by columns, as in COCO, or `C`.

    Raises ValueError if they do not fill the mask.
    """
    if min(counts, default=0) < 0 or sum(counts) != width * height:
        raise ValueError(f"run lengths do not fill {width}x{height}")
    values = np.repeat(np.arange(len(counts), dtype=np.int64) % 2, counts).astype(np.uint8)
    return values.reshape((height, width), order="F" if order == "F" else "C")


def read_counts(text: str) -> list[int]:
    """Decode run lengths from COCO's text; raise ValueError if it is malformed.

    pycocotools reads past the end of a malformed text, so it is not used here.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text.encode("ascii"):
        bits = byte - 48
        if not 0 <= bits < 64 or shift > MOST_BITS:
            raise ValueError("run lengths hold a letter that cannot be")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return counts


def trace(mask: Mask) -> list[Points]:
    """Trace a mask as closed outlines; a hole is joined to its outline by a line there and back.

    The outlines have few corners where the IoU with the mask stays above 0.995, and otherwise all.
    """
    height, width = mask.shape
    twice = cv2.resize(mask, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_corners((contour[:, 0].astype(np.int32) + 1) // 2) for contour in contours]
    parents = [int(row[3]) for row in tree[0]] if rings else []
    for tolerance in TOLERANCES_PX:
        fewer = [cv2.approxPolyDP(ring[:, None], tolerance, True)[:, 0] for ring in rings]
        outlines = _join(fewer, parents)
        if outlines and _iou(draw_polygons(outlines, width, height), mask) >= LEAST_IOU:
            return outlines
    return _join(rings, parents)


def _corners(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    """Leave out points that repeat or lie on a straight line."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[(np.sign(before) != np.sign(after)).any(axis=1)]


def _join(rings: Sequence[NDArray[np.int32]], parents: Sequence[int]) -> list[Points]:
    """Join holes to the rings around them; rings of two points have no area and go."""
    joined = {i: r.astype(float) for i, r in enumerate(rings) if parents[i] < 0 and len(r) > 2}
    for hole, parent in zip(rings, parents, strict=True):
        if parent in joined and len(hole) > 2:
            outer = joined[parent]
            near = int(((outer - hole[0]) ** 2).sum(axis=1).argmin())
            joined[parent] = np.concatenate([outer[: near + 1], hole, hole[:1], outer[near:]])
    return list(joined.values())


def _iou(a: Mask, b: Mask) -> float:
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))
