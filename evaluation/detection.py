"""Compares findings with true boxes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from qlumen.evaluation.bootstrap import Clusters, cluster_interval, interval, take_clusters
from qlumen.realtime.pixels.arrays import Box, Mask

MIN_LESION_SHARE = 0.0005
"""Share of the frame. Smaller parts of a true mask are drawing errors, and smaller findings of the
shipped bundle are noise."""
MIN_IOU = 0.3
"""Smallest overlap of two boxes for a hit, as is usual for lesions with soft borders."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Counts the true lesions of a frame, those that are hit, and findings without a lesion."""

    lesions: int
    hit: int
    false_findings: int


def hits(found: Sequence[Box], true: Sequence[Box]) -> Hits:
    """Count lesions and findings after pairing them as `find_unpaired` does."""
    alone, unseen = find_unpaired(found, true)
    return Hits(len(true), len(true) - len(unseen), len(alone))


def find_unpaired(found: Sequence[Box], true: Sequence[Box]) -> tuple[list[int], list[int]]:
    """Pair findings and lesions one to one, the best overlap first, at an IoU of 0.3 or more.

    Returns:
        places of the findings and of the lesions that are left over
    """
    overlaps = [
        (-iou(one, other), i, j) for i, one in enumerate(found) for j, other in enumerate(true)
    ]
    alone, unseen = set(range(len(found))), set(range(len(true)))
    for negative, i, j in sorted(overlaps):
        if -negative >= MIN_IOU and i in alone and j in unseen:
            alone.remove(i)
            unseen.remove(j)
    return sorted(alone), sorted(unseen)


def iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two half-open boxes; 0 if both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    overlap = max(0, width) * max(0, height)
    whole = _area(one) + _area(other) - overlap
    return overlap / whole if whole else 0.0


def lesion_boxes(truth: Mask) -> list[Box]:
    """Return the boxes of the 8-connected parts of an `(H, W)` mask, from 0.05% of it upwards."""
    least_px = MIN_LESION_SHARE * truth.size
    count, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(truth))
    parts = stats[1:count].tolist()
    return [(x, y, x + w, y + h) for x, y, w, h, area_px in parts if area_px >= least_px]


def summary(rows: Iterable[Hits]) -> dict[str, float | int | None]:
    """Return sensitivity per lesion and per frame with a lesion, and false findings per frame.

    A frame counts as found if one of its lesions is hit. None means that no frame has a lesion.
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


def summary_intervals(rows: Sequence[Hits], clusters: Clusters = None) -> dict[str, Any]:
    """Return 95% bootstrap intervals for the two figures of `summary` per frame.

    `detection_95` holds those over frames, `detection_95_by_cluster` those over clusters.
    """
    ill = [place for place, row in enumerate(rows) if row.lesions]
    found = [float(rows[place].hit > 0) for place in ill]
    false = [float(row.false_findings) for row in rows]
    own = take_clusters(clusters, ill)
    return {
        "detection_95": {
            "frame_sensitivity": list(interval(found)) if found else None,
            "false_findings_per_frame": list(interval(false)),
        },
        "detection_95_by_cluster": {
            "frame_sensitivity": cluster_interval(found, own) if found else None,
            "false_findings_per_frame": cluster_interval(false, clusters),
        },
    }


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
