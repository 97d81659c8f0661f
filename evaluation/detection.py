"""Which lesions were found: findings against true boxes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from qlumen.evaluation.bootstrap import interval
from qlumen.realtime.pixels.arrays import Box, Mask

LEAST_LESION_SHARE = 0.0005
"""Of the frame: smaller parts of a true mask are crumbs of its drawing, as those of the
shipped bundle's findings are noise."""
LEAST_IOU = 0.3
"""Overlap of two boxes that counts as a hit, as is usual for lesions with soft borders."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Of one frame.

    Attributes:
        lesions: true ones. hit: of them. false_findings: that hit none.
    """

    lesions: int
    hit: int
    false_findings: int


def hits(found: Sequence[Box], true: Sequence[Box]) -> Hits:
    """Pair findings and lesions one to one, the best overlap first, down to an IoU of 0.3."""
    overlaps = [
        (iou(one, other), i, j) for i, one in enumerate(found) for j, other in enumerate(true)
    ]
    used: set[int] = set()
    reached: set[int] = set()
    for overlap, i, j in sorted(overlaps, key=lambda row: (-row[0], row[1], row[2])):
        if overlap >= LEAST_IOU and i not in used and j not in reached:
            used.add(i)
            reached.add(j)
    return Hits(len(true), len(reached), len(found) - len(used))


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two half-open boxes; 0 when both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    overlap = max(0, width) * max(0, height)
    whole = _area(one) + _area(other) - overlap
    return overlap / whole if whole else 0.0


def lesion_boxes(truth: Mask) -> list[Box]:
    """The boxes of the 8-connected parts of a `(H, W)` mask, but for parts below 0.05% of it."""
    least_px = LEAST_LESION_SHARE * truth.size
    count, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(truth))
    parts = stats[1:count].tolist()
    return [(x, y, x + w, y + h) for x, y, w, h, area_px in parts if area_px >= least_px]


def summary(rows: Iterable[Hits]) -> dict[str, float | int | None]:
    """Sensitivity per lesion and per frame that has one, and false findings a frame.

    A frame counts as found when one of its lesions is hit. None: no frame had a lesion.
    """
    rows = list(rows)
    ill = [row for row in rows if row.lesions]
    lesions = sum(row.lesions for row in rows)
    return {
        "frames": len(rows),
        "lesions": lesions,
        "lesion_sensitivity": sum(row.hit for row in rows) / lesions if lesions else None,
        "frame_sensitivity": sum(row.hit > 0 for row in ill) / len(ill) if ill else None,
        "false_findings_per_frame": sum(row.false_findings for row in rows) / len(rows),
    }


def summary_intervals(rows: Sequence[Hits]) -> dict[str, list[float] | None]:
    """95% bootstrap intervals over frames of the two figures of `summary` that are by frame."""
    found = [float(row.hit > 0) for row in rows if row.lesions]
    return {
        "frame_sensitivity": list(interval(found)) if found else None,
        "false_findings_per_frame": list(interval([float(row.false_findings) for row in rows])),
    }


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
