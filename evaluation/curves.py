"""Scores the probability map at every threshold, without post-processing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.evaluation.reliability import ReliabilityCounts, truth_at
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.segmentation.geometry import Geometry

LEVELS = 128
"""Number of thresholds: 0, 1/128, .., 127/128. A power of two avoids rounding in comparisons."""
Counts = NDArray[np.int64]


def pixel_counts(probability: NDArray[np.float32], truth: Mask) -> Counts:
    """Count pixels without and with lesion, `(2, LEVELS)`, by the highest threshold they reach.

    Args:
        probability: `(H, W)`, 0 to 1; NaN counts as 0
        truth: `(H, W) uint8`, 0 or 1
    """
    reached = np.clip(np.nan_to_num(probability) * LEVELS, 0, LEVELS - 1).astype(np.int64)
    both = np.bincount((reached + LEVELS * truth).ravel(), minlength=2 * LEVELS)
    return both.reshape(2, LEVELS)


def curves(images: Sequence[Counts]) -> dict[str, Any]:
    """Score the masks {probability >= threshold} at each threshold.

    `dice` and `iou` are means over the images; two empty masks score 1. `precision` and `recall`
    use the pixels of all images together. Precision is 1 where nothing is found, and recall is
    None without lesions. `average_precision` is the sum of precisions, weighted by recall steps.
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
    """Collects the curves over thresholds and the calibration of the lesion regions."""

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
            probability: probabilities at the size of `truth`
            own: map as the network gave it, for the calibration
            own_truth: part of `truth` that the network saw
            geometry: position of that part in the map
        """
        self._counts.append(pixel_counts(probability, truth))
        height, width = own.shape
        self._reliability.add(own, truth_at((width, height), own_truth, geometry))

    def report(self) -> dict[str, Any]:
        """Return the figures for JSON; `reliability` is None without a lesion region."""
        return {"curves": curves(self._counts), "reliability": self._calibration()}

    def _calibration(self) -> dict[str, Any] | None:
        try:
            return self._reliability.result().record()
        except ValueError:
            return None


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    """Divide; the ratio is 1 where both are 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
