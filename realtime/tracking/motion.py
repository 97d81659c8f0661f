"""How the picture moved between two frames, and findings moved along.

Motion is estimated on small grey pictures by OpenCV's dense inverse search (Kroeger et al.,
"Fast optical flow using dense inverse search", 2016). Size and options were chosen on the
built-in scene, whose truth is known: see `bench/motion.py`.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.flow import border_room, move_border, moved_difference, reduce_green
from qlumen.realtime.frames import Finding, Segmentation
from qlumen.realtime.pixels.arrays import Box, Image, Mask

Thumbnail = NDArray[np.uint8]
"""`(h, w)` grey, THUMBNAIL_PX at its longer side, in the frame's proportions."""
Flow = NDArray[np.float32]
"""`(h, w, 2)`: of each pixel of the earlier thumbnail, its displacement x, y to the later
one, in pixels of the thumbnail."""

THUMBNAIL_PX = 128
LEAST_SIDE_PX = 32
"""Thinner pictures are padded: OpenCV gives nan for less, or ends the process."""
CUT_GREY_LEVELS = 25.0
PATCH_STRIDE_PX = 4
SEARCH_STEPS = 16


class Motion:
    """Estimates motion. Holds OpenCV's scratch, so one belongs to one thread."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(0)
        self._search.setPatchStride(PATCH_STRIDE_PX)
        self._search.setGradientDescentIterations(SEARCH_STEPS)

    def reduce(self, image: Image) -> Thumbnail:
        """Make the thumbnail of `(H, W, 3) uint8` BGR of any size; smaller ones keep theirs."""
        height, width = image.shape[:2]
        scale = min(1.0, THUMBNAIL_PX / max(height, width))
        small = np.empty((max(1, round(height * scale)), max(1, round(width * scale))), np.uint8)
        reduce_green(image, small)
        return small

    def flow(self, earlier: Thumbnail, later: Thumbnail) -> Flow:
        """Where each pixel of `earlier` went.

        Raises:
            ValueError: the thumbnails differ in size.
        """
        if earlier.shape != later.shape:
            raise ValueError(
                f"thumbnails of {earlier.shape} and {later.shape}: they must be of one size; "
                "start anew when the frame's size changes"
            )
        found = self._search.calc(_padded(earlier), _padded(later), None)
        return np.ascontiguousarray(found[: earlier.shape[0], : earlier.shape[1]])


def mismatch(earlier: Thumbnail, later: Thumbnail, flow: Flow) -> float:
    """How badly `flow` explains `later`: mean absolute difference to `earlier`, grey levels.

    Consecutive frames of recordings have 4 to 6; from `CUT_GREY_LEVELS` on the two pictures
    do not show the same, and nothing should be carried over.
    """
    return float(moved_difference(earlier, later, flow))


def moved(segmentation: Segmentation, flow: Flow) -> Segmentation:
    """Move a segmentation from its frame to the one that `flow` leads to.

    Findings keep their score, and stay largest first; those that leave the frame are left
    out. The probability map is the same object as before. The mask is the union of the
    filled contours. No motion gives the same mask and contours.
    """
    height, width = segmentation.mask.shape
    candidates = (moved_finding(one, flow, (width, height)) for one in segmentation.findings)
    findings = sorted((one for one in candidates if one is not None), key=_largest_first)
    return Segmentation(
        filled(findings, (width, height)), tuple(findings), segmentation.probability
    )


def moved_finding(finding: Finding, flow: Flow, frame_size: tuple[int, int]) -> Finding | None:
    """Move a finding; None if it leaves the frame of (width, height) pixels.

    Each point of the border moves by the flow at its place. What the frame's edge cuts off
    is lost; if that leaves pieces, the largest is kept.
    """
    border = _moved_border(finding.contour, flow, frame_size)
    left, top = np.maximum(border.min(axis=0), 0).tolist()
    right, bottom = np.minimum(border.max(axis=0) + 1, frame_size).tolist()
    if left >= right or top >= bottom:
        return None
    patch = _filled_patch(border, (left, top, right, bottom))
    pieces, _ = cv2.findContours(patch, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = [_from_contour(piece, (left, top), finding.score) for piece in pieces]
    return min(found, key=_largest_first, default=None)


def filled(findings: Iterable[Finding], frame_size: tuple[int, int]) -> Mask:
    """The mask `(height, width) uint8` of the contours of all findings, filled."""
    mask = np.zeros(frame_size[::-1], np.uint8)
    for finding in findings:
        cv2.fillPoly(mask, [finding.contour], 1)
    return mask


def _padded(thumbnail: Thumbnail) -> Thumbnail:
    down, right = (max(0, LEAST_SIDE_PX - side) for side in thumbnail.shape)
    return np.pad(thumbnail, ((0, down), (0, right)), mode="edge") if down or right else thumbnail


def _moved_border(
    contour: NDArray[np.int32], flow: Flow, frame_size: tuple[int, int]
) -> NDArray[np.int32]:
    """A point at least every pixel of the flow, none further out than the frame's size."""
    width, height = frame_size
    step = max(1, min(width // flow.shape[1], height // flow.shape[0]))
    border = np.empty((border_room(contour, step), 2), np.int32)
    move_border(contour, flow, width, height, step, border)
    return np.clip(border, (-width, -height), (2 * width, 2 * height), dtype=np.int32)


def _filled_patch(border: NDArray[np.int32], box: Box) -> Mask:
    """What a filled border covers in the box. Filled whole and then cut: where OpenCV cuts
    slanting lines itself, they take other pixels."""
    corner = border.min(axis=0)
    width, height = (border.max(axis=0) - corner + 1).tolist()
    whole = np.zeros((height, width), np.uint8)
    cv2.fillPoly(whole, [border - corner], 1)
    left, top, right, bottom = (np.array(box).reshape(2, 2) - corner).ravel().tolist()
    return np.ascontiguousarray(whole[top:bottom, left:right])


def _from_contour(piece: NDArray[np.int32], corner: tuple[int, int], score: float) -> Finding:
    """OpenCV's contours start at the same pixel as ours and run the other way."""
    chain = piece.reshape(-1, 2)
    contour = np.concatenate([chain[:1], chain[:0:-1]]) + np.array(corner, np.int32)
    x, y, w, h = cv2.boundingRect(piece)
    solid = np.zeros((h, w), np.uint8)
    cv2.fillPoly(solid, [chain - (x, y)], 1)
    left, top = corner[0] + x, corner[1] + y
    return Finding((left, top, left + w, top + h), score, cv2.countNonZero(solid), contour)


def _largest_first(finding: Finding) -> tuple[int, int, int]:
    return -finding.area_px, finding.box[1], finding.box[0]
