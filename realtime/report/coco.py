"""The findings as COCO annotations, masks as run lengths."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from qlumen.realtime.frames import Finding
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.report.rle import compact, run_lengths
from qlumen.realtime.report.tracked import track_numbers
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.records import StoredFrame
from qlumen.realtime.review.review import Review

CATEGORY = {"id": 1, "name": "polyp", "supercategory": "lesion"}


def coco(review: Review, findings: Findings) -> dict[str, Any]:
    """A COCO data set as plain JSON types: an image a frame, an annotation a finding.

    An image's `id` is the frame's index; `file_name` is its own, or that of the mask that a
    replay writes. Annotations have, beside COCO's keys, `score` and `track_id`: the
    lesion's number, or null.
    """
    annotations = list(_annotations(review, findings))
    return {
        "info": {"description": f"{review.manifest.source.name}: findings of qlumen. {RESEARCH}"},
        "licenses": [],
        "categories": [CATEGORY],
        "images": [_image(record) for record in review.frames],
        "annotations": annotations,
    }


def _image(record: StoredFrame) -> dict[str, Any]:
    return {
        "id": record.index,
        "file_name": record.name or f"frame_{record.index:06d}.png",
        "width": record.width,
        "height": record.height,
        "time_s": record.time_s,
    }


def _annotations(review: Review, findings: Findings) -> Iterator[dict[str, Any]]:
    numbers = track_numbers(findings)
    number = 0
    for place, found in enumerate(findings.frames):
        record = review.frames[place]
        for finding in found:
            number += 1
            yield {
                "id": number,
                "image_id": record.index,
                "category_id": CATEGORY["id"],
                **_shape(finding, record.size),
                "iscrowd": 0,
                "score": finding.score,
                "track_id": numbers.get(id(finding)),
            }


def _shape(finding: Finding, size: tuple[int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = finding.box
    counts = compact(run_lengths(mask_of(finding, size)))
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": finding.area_px,
        "segmentation": {"size": [size[1], size[0]], "counts": counts},
    }


def mask_of(finding: Finding, size: tuple[int, int]) -> Mask:
    """One finding on a frame of (width, height): `(H, W) uint8` of 0 and 1."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [finding.contour], 1)
    return mask
