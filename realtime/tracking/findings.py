"""Traces, fills, moves, places and scales findings.

A finding's contour starts at the leftmost pixel of its top row and runs clockwise on the screen,
as `qlumen.kernels.contours` traces it. OpenCV's contours start at the same pixel and run the
other way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.flow import border_room, move_border
from qlumen.realtime.frames import NO_MAP, Field, Finding, Segmentation
from qlumen.realtime.pixels.arrays import Box, Mask
from qlumen.realtime.tracking.motion import Flow


def largest_first(finding: Finding) -> tuple[int, int, Box, float, bytes]:
    """Return the sort key of findings: larger ones first, then from top and left."""
    top = finding.box[1]
    return -finding.area_px, top, finding.box, finding.score, finding.contour.tobytes()


def trace_findings(mask: Mask, corner: tuple[int, int], score: float) -> list[Finding]:
    """Make a finding of each 8-connected piece of a mask.

    Args:
        mask: `(h, w) uint8`, not 0 on the pieces; holes count as filled.
        corner: x and y of the mask's first pixel on the frame.
        score: score of each finding.
    """
    chains, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [_measure(chain, corner, score) for chain in chains]


def fill_findings(findings: Iterable[Finding], frame_size: tuple[int, int]) -> Mask:
    """Fill the contours of findings in a mask `(height, width) uint8` of 0 and 1."""
    mask = np.zeros(frame_size[::-1], np.uint8)
    for finding in findings:
        cv2.fillPoly(mask, [finding.contour], 1)
    return mask


def segment_findings(
    findings: Iterable[Finding],
    frame_size: tuple[int, int],
    probability: NDArray[np.float32] = NO_MAP,
) -> Segmentation:
    """Make a segmentation of findings, largest first, with their contours filled."""
    ordered = tuple(sorted(findings, key=largest_first))
    return Segmentation(fill_findings(ordered, frame_size), ordered, probability)


def move_segmentation(segmentation: Segmentation, flow: Flow) -> Segmentation:
    """Move a segmentation from its frame to the one that `flow` leads to.

    Findings keep their score and stay largest first. Findings that leave the frame are left out.
    The probability map is the same object as before. The mask is the union of the filled
    contours. No motion gives the same mask and contours.
    """
    height, width = segmentation.mask.shape

    def move(findings: Iterable[Finding]) -> Iterator[Finding]:
        moved = (move_finding(one, flow, (width, height)) for one in findings)
        return (one for one in moved if one is not None)

    kept = move(segmentation.findings)
    made = segment_findings(kept, (width, height), segmentation.probability)
    others = segmentation.others
    return replace(made, others=tuple(move(others))) if others else made


def move_finding(finding: Finding, flow: Flow, frame_size: tuple[int, int]) -> Finding | None:
    """Move a finding; None if it leaves the frame of (width, height) pixels.

    Each point of the border moves by the flow at its place. Parts beyond the frame's edge are
    lost. If that leaves pieces, the largest is kept.
    """
    border = _move_border(finding.contour, flow, frame_size)
    left, top = np.maximum(border.min(axis=0), 0).tolist()
    right, bottom = np.minimum(border.max(axis=0) + 1, frame_size).tolist()
    if left >= right or top >= bottom:
        return None
    patch = _fill_border(border, (left, top, right, bottom))
    pieces = trace_findings(patch, (left, top), finding.score)
    largest = min(pieces, key=largest_first, default=None)
    return replace(largest, label=finding.label) if largest and finding.label else largest


def place_findings(findings: Iterable[Finding], field: Field) -> list[Finding]:
    """Put the findings of a field's crop back on its frame, largest first.

    Parts outside the field are removed. The pieces of a cut finding are measured again and keep
    its score.
    """
    pieces = (one for finding in findings for one in _place(finding, field))
    return sorted(pieces, key=largest_first)


def scale_finding(
    finding: Finding, frame_size: tuple[int, int], size: tuple[int, int]
) -> Sequence[Finding]:
    """Scale a finding of a frame of (width, height) to an image of another size.

    A thin finding can fall into pieces.
    """
    if frame_size == size:
        return (finding,)
    points = np.floor((finding.contour + 0.5) * (np.array(size) / frame_size)).astype(np.int32)
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [points], 1)
    return trace_findings(mask, (0, 0), finding.score)


def _measure(chain: NDArray[np.int32], corner: tuple[int, int], score: float) -> Finding:
    points = chain.reshape(-1, 2)
    x, y, w, h = cv2.boundingRect(chain)
    solid = np.zeros((h, w), np.uint8)
    cv2.fillPoly(solid, [points - np.array((x, y), np.int32)], 1)
    left, top = corner[0] + x, corner[1] + y
    contour = np.concatenate([points[:1], points[:0:-1]]) + np.array(corner, np.int32)
    return Finding((left, top, left + w, top + h), score, cv2.countNonZero(solid), contour)


def _move_border(
    contour: NDArray[np.int32], flow: Flow, frame_size: tuple[int, int]
) -> NDArray[np.int32]:
    """Move a point at least every pixel of the flow, no further out than the frame's size."""
    width, height = frame_size
    step = max(1, min(width // flow.shape[1], height // flow.shape[0]))
    border = np.empty((border_room(contour, step), 2), np.int32)
    move_border(contour, flow, width, height, step, border)
    return np.clip(border, (-width, -height), (2 * width, 2 * height), dtype=np.int32)


def _fill_border(border: NDArray[np.int32], box: Box) -> Mask:
    """Fill a border, then cut the box out: slanting lines that OpenCV cuts take other pixels."""
    corner = border.min(axis=0)
    width, height = (border.max(axis=0) - corner + 1).tolist()
    whole = np.zeros((height, width), np.uint8)
    cv2.fillPoly(whole, [border - corner], 1)
    left, top, right, bottom = (np.array(box).reshape(2, 2) - corner).ravel().tolist()
    return np.ascontiguousarray(whole[top:bottom, left:right])


def _place(finding: Finding, field: Field) -> Sequence[Finding]:
    """Move a finding from the field's crop to the frame, and remove its parts off the field."""
    corner = np.array(field.box[:2], np.int32)
    contour = finding.contour + corner
    x0, y0, x1, y1 = (np.array(finding.box) + np.tile(corner, 2)).tolist()
    moved = finding
    if corner.any():
        moved = Finding((x0, y0, x1, y1), finding.score, finding.area_px, contour)
    if field.mask is None:
        return (moved,)
    patch = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(patch, [contour - np.array((x0, y0), np.int32)], 1)
    left = patch & field.mask[y0:y1, x0:x1]
    if np.array_equal(left, patch):
        return (moved,)
    return trace_findings(left, (x0, y0), finding.score)
