"""Scores a mask against the true mask."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.realtime.pixels.arrays import Mask

HD_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class Scores:
    """Holds the scores of one image; all except `mae` and `hd95_px` compare masks, 0 to 1.

    Attributes:
        dice: 1 if both masks are empty, as for `iou`
        precision: 1 if nothing was found
        recall: 1 if there was nothing to find
        mae: mean absolute difference of probability and truth over all pixels
        hd95_px: 95th percentile of the distances between the two borders, both ways, in pixels;
            None if a mask is empty
    """

    dice: float
    iou: float
    precision: float
    recall: float
    mae: float
    hd95_px: float | None


def score(mask: Mask, truth: Mask, probability: NDArray[np.float32]) -> Scores:
    """Compare `(H, W)` masks of 0 and 1, and a probability map of the same size.

    Raises:
        ValueError: the sizes differ
    """
    if not mask.shape == truth.shape == probability.shape:
        raise ValueError(
            f"mask {mask.shape}, truth {truth.shape} and probability {probability.shape} "
            "must have the same size"
        )
    found, real = int(mask.sum()), int(truth.sum())
    overlap = int((mask & truth).sum())
    return Scores(
        dice=_ratio(2 * overlap, found + real),
        iou=_ratio(overlap, found + real - overlap),
        precision=_ratio(overlap, found),
        recall=_ratio(overlap, real),
        mae=float(np.abs(probability - truth).mean()),
        hd95_px=border_distance(mask, truth) if found and real else None,
    )


def border_distance(mask: Mask, truth: Mask, percentile: float = HD_PERCENTILE) -> float:
    """Return a percentile of the distances from each border pixel to the other border.

    Both directions are pooled. A border pixel belongs to the mask and has a 4-neighbour outside.
    The image's edge counts as outside. Both masks must have pixels.
    """
    borders = [_border(mask), _border(truth)]
    maps = [ndimage.distance_transform_edt(~border) for border in borders]
    distances = np.concatenate([maps[1][borders[0]], maps[0][borders[1]]])
    return float(np.percentile(distances, percentile))


def _border(mask: Mask) -> NDArray[np.bool_]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(mask, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return (mask != 0) & (inner == 0)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
