"""A review's pictures with findings drawn on them, at the size they are kept in."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from qlumen.realtime.frames import Finding, Segmentation
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.review.review import Review

JPEG_QUALITY = 90
NO_MAP = np.zeros((0, 0), np.float32)


def drawn(review: Review, place: int, findings: Sequence[Finding], overlay: Overlay) -> Image:
    """The kept picture of a frame with these of its findings: `(h, w, 3) uint8` BGR."""
    image = review.picture(place)
    size = image.shape[1], image.shape[0]
    small = tuple(one for f in findings for one in scaled(f, review.frames[place].size, size))
    mask = np.zeros(image.shape[:2], np.uint8)
    for finding in small:
        cv2.fillPoly(mask, [finding.contour], 1)
    return overlay(image, Segmentation(mask, small, NO_MAP))


def scaled(finding: Finding, frame: tuple[int, int], shown: tuple[int, int]) -> Iterable[Finding]:
    """A finding of a frame of (width, height) as it lies on a picture of another size: mostly
    one, with the area counted anew; pieces where it is thin."""
    if frame == shown:
        return (finding,)
    scale = np.array(shown) / frame
    points = np.floor((finding.contour + 0.5) * scale).astype(np.int32)
    mask = np.zeros(shown[::-1], np.uint8)
    cv2.fillPoly(mask, [points], 1)
    borders, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return tuple(_finding(border, finding.score) for border in borders)


def _finding(border: Image, score: float) -> Finding:
    x, y, w, h = cv2.boundingRect(border)
    points = border.reshape(-1, 2).astype(np.int32)
    return Finding((x, y, x + w, y + h), score, round(cv2.contourArea(border)), points)
