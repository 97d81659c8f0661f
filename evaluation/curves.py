"""Scores of the bare probability map at every threshold: what post-processing starts from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.evaluation.reliability import ReliabilityCounts, truth_at
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.segmentation.geometry import Geometry

LEVELS = 128
"""Thresholds 0, 1/128, .., 127/128: a power of two, so that a probability is compared with each
of them without rounding."""
Counts = NDArray[np.int64]


def pixel_counts(probability: NDArray[np.float32], truth: Mask) -> Counts:
    """`(2, LEVELS)`: pixels without and with lesion, by the highest threshold that they reach.

    Args:
        probability: `(H, W)`, 0 to 1; NaN counts as 0.
        truth: `(H, W) uint8` of 0 and 1.
    """
    reached = np.clip(np.nan_to_num(probability) * LEVELS, 0, LEVELS - 1).astype(np.int64)
    both = np.bincount((reached + LEVELS * truth).ravel(), minlength=2 * LEVELS)
    return both.reshape(2, LEVELS)


def curves(images: Sequence[Counts]) -> dict[str, Any]:
    """Scores of the masks {probability >= threshold}, at each of the thresholds.

    `dice`, `iou`: means over the images; two empty masks score 1. `precision`, `recall`: of the
    pixels of all images together, precision 1 where nothing is found, recall None without
    lesions. `average_precision`: sum of precisions weighted by the steps of recall.
    """
    counts = np.stack(images)
    found = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    false, hit = found[:, 0], found[:, 1]
    real = hit[:, :1]
    dice = _ratio(2 * hit, hit + false + real).mean(axis=0)
    iou = _ratio(hit, false + real).mean(axis=0)
    precision = _ratio(hit.sum(0), (hit + false).sum(0))
    result = {
        "threshold": [level / LEVELS for level in range(LEVELS)],
        "dice": dice.tolist(),
        "iou": iou.tolist(),
        "precision": precision.tolist(),
        "recall": None,
        "average_precision": None,
    }
    if total := int(real.sum()):
        recall = hit.sum(0) / total
        steps = recall - np.append(recall[1:], 0)
        result |= {"recall": recall.tolist(), "average_precision": float((steps * precision).sum())}
    return result


class MapFigures:
    """Collects thresholds' curves and the calibration of the lesion regions."""

    def __init__(self) -> None:
        self._counts: list[Counts] = []
        self._reliability = ReliabilityCounts()

    def add(
        self,
        probability: NDArray[np.float32],
        truth: Mask,
        own: Probability,
        own_truth: Mask,
        geometry: Geometry,
    ) -> None:
        """Count one image.

        Args:
            probability: at the size of `truth`.
            own: the map as the network gave it, on which the calibration is measured.
            own_truth: the part of `truth` that the network saw, and `geometry` how it lies in
                the map.
        """
        self._counts.append(pixel_counts(probability, truth))
        height, width = own.shape
        self._reliability.add(own, truth_at((width, height), own_truth, geometry))

    def report(self) -> dict[str, Any]:
        """For JSON; `reliability` is None where no image had a lesion region."""
        return {"curves": curves(self._counts), "reliability": self._calibration()}

    def _calibration(self) -> dict[str, Any] | None:
        try:
            return self._reliability.result().record()
        except ValueError:
            return None


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    """1 where both are empty."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
