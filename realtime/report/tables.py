"""Writes each finding as a row of CSV or as a COCO annotation."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from qlumen.realtime.frames import Finding
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.review.findings import Findings, share_of_field
from qlumen.realtime.review.records import StoredFrame
from qlumen.realtime.review.review import Review
from qlumen.realtime.tracking.findings import fill_findings

CATEGORY = {"id": 1, "name": "polyp", "supercategory": "lesion"}
COLUMNS = (
    "frame", "time_s", "name", "condition", "lesion", "x0", "y0", "x1", "y1", "score",
    "area_px", "share_of_frame", "share_of_field",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would read these as a formula; an apostrophe before them makes text."""
DIGITS = 6


def findings_csv(review: Review, findings: Findings) -> str:
    """Write all findings of all frames as CSV.

    `lesion` is the number of the track, or empty. Boxes are half open, in pixels of the frame.
    Shares are 0 to 1.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for record, finding, lesion in _rows(review, findings):
        name = f"'{record.name}" if record.name.startswith(FORMULA_STARTS) else record.name
        writer.writerow(
            (
                record.index,
                round(record.time_s, DIGITS),
                name,
                record.condition.value,
                lesion or "",
                *finding.box,
                round(finding.score, DIGITS),
                finding.area_px,
                round(finding.area_px / (record.width * record.height), DIGITS),
                round(share_of_field(finding, record), DIGITS),
            )
        )
    return text.getvalue()


def coco(review: Review, findings: Findings) -> dict[str, Any]:
    """Describe all findings as a COCO data set of plain JSON types, with masks as run lengths.

    An image's `id` is the frame's index. Its `file_name` is the image's own name, or the name of
    the mask that a replay writes. Annotations also have `score` and `track_id`, the lesion's
    number or null.
    """
    images = [
        {
            "id": record.index,
            "file_name": record.name or f"frame_{record.index:06d}.png",
            "width": record.width,
            "height": record.height,
            "time_s": record.time_s,
        }
        for record in review.frames
    ]
    annotations = [
        annotation(finding, record.size, number, record.index, lesion)
        for number, (record, finding, lesion) in enumerate(_rows(review, findings), start=1)
    ]
    return {
        "info": {"description": f"{review.manifest.source.name}: findings of qlumen. {RESEARCH}"},
        "licenses": [],
        "categories": [CATEGORY],
        "images": images,
        "annotations": annotations,
    }


def _rows(review: Review, findings: Findings) -> Iterator[tuple[StoredFrame, Finding, int | None]]:
    """Yield all findings with their frame and the number of their lesion."""
    lesions = findings.lesion_numbers()
    for record, found in zip(review.frames, findings.frames, strict=False):
        for finding in found:
            yield record, finding, lesions.get(id(finding))


def annotation(
    finding: Finding, size: tuple[int, int], number: int, image: int, lesion: int | None
) -> dict[str, Any]:
    """Describe a finding on an image of (width, height) as a COCO annotation."""
    x0, y0, x1, y1 = finding.box
    runs = coco_mask.encode(np.asfortranarray(fill_findings([finding], size)))
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORY["id"],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": finding.area_px,
        "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
        "iscrowd": 0,
        "score": finding.score,
        "track_id": lesion,
    }
