"""Measures how true a map's probabilities are: calibration error and reliability diagram.

Most pixels of a frame are far from any lesion. There a probability near 0 is right and easy, so
the error over whole frames says little. The error is taken over the *lesion region*: the bounding
box of true mask and prediction together, with a margin. Mehrtash et al. 2020 ("Confidence
calibration and predictive uncertainty estimation for deep medical image segmentation", IEEE TMI
39(12)) also use bounding boxes around the foreground.

The expected calibration error is that of Guo et al. 2017 ("On calibration of modern neural
networks") for the class "lesion". In each bin of equal width it compares mean probability and
share of lesion pixels. It is the mean distance, weighted by the pixels in a bin. Every image has
the weight 1 for any number of pixels, so images of all sizes count equally.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Box, Mask
from qlumen.realtime.segmentation.geometry import Geometry

BINS = 15
"""Number of bins, as in Guo et al. 2017."""
PREDICTED_FROM = 0.5
"""Smallest probability of a pixel of the prediction."""
MARGIN_SHARE = 0.1
"""Margin on each side of the box, as a share of the image's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Holds a reliability diagram in `(bins,) float64` arrays, with equal bins from 0 to 1.

    Attributes:
        weight: share of all pixels in the bin, with equal weight for each image; the sum is 1
        probability: mean probability; NaN in empty bins
        lesion: share of lesion pixels; NaN in empty bins
        images: number of images with a lesion region, which needs a lesion or a prediction
    """

    weight: NDArray[np.float64]
    probability: NDArray[np.float64]
    lesion: NDArray[np.float64]
    images: int

    @property
    def error(self) -> float:
        """Return the expected calibration error, 0 to 1."""
        gaps = np.abs(self.probability - self.lesion)
        return float(np.nansum(self.weight * gaps))

    def record(self) -> dict[str, Any]:
        """Return error, number of images, and bins that are not empty, for JSON and plots."""
        edges = np.linspace(0, 1, len(self.weight) + 1)
        rows = [
            {
                "from": float(edges[i]),
                "to": float(edges[i + 1]),
                "weight": float(self.weight[i]),
                "probability": float(self.probability[i]),
                "lesion": float(self.lesion[i]),
            }
            for i in np.flatnonzero(self.weight)
        ]
        return {"ece": self.error, "images": self.images, "bins": rows}


class ReliabilityCounts:
    """Collects a reliability diagram, one image at a time."""

    def __init__(self, bins: int = BINS) -> None:
        if bins < 1:
            raise ValueError(f"bins is {bins}; use at least 1")
        self._sums = np.zeros((3, bins))
        self._images = 0

    def add(self, probability: NDArray[np.float32], truth: Mask) -> None:
        """Count the pixels of one image's lesion region.

        Args:
            probability: `(H, W)` float, 0 to 1; other values are clipped, NaN counts as 0
            truth: `(H, W) uint8`, 0 or 1

        Raises:
            ValueError: the sizes differ
        """
        box = lesion_region(probability, truth)
        if box is None:
            return
        x0, y0, x1, y1 = box
        inside = np.nan_to_num(probability[y0:y1, x0:x1].astype(np.float64)).clip(0, 1).ravel()
        real = truth[y0:y1, x0:x1].ravel()
        bins = self._sums.shape[1]
        number = np.minimum((inside * bins).astype(np.intp), bins - 1)
        for row, weights in enumerate((None, inside, real)):
            self._sums[row] += np.bincount(number, weights, bins) / inside.size
        self._images += 1

    def result(self) -> Reliability:
        """Return the diagram of the images so far; raise ValueError without a lesion region."""
        if not self._images:
            raise ValueError("no image has a lesion or a prediction, so there is no diagram")
        weight, probability, lesion = self._sums
        with np.errstate(invalid="ignore"):
            means = probability / weight, lesion / weight
        return Reliability(weight / self._images, *means, self._images)


def reliability(
    samples: Iterable[tuple[NDArray[np.float32], Mask]], bins: int = BINS
) -> Reliability:
    """Return the diagram of pairs of probability map and true mask.

    Raises:
        ValueError: map and mask of a pair differ in size, or no pair has a lesion region
    """
    counts = ReliabilityCounts(bins)
    for probability, truth in samples:
        counts.add(probability, truth)
    return counts.result()


def lesion_region(
    probability: NDArray[np.float32], truth: Mask, margin_share: float = MARGIN_SHARE
) -> Box | None:
    """Return the box of all lesion or predicted pixels with a margin; None without such pixels.

    A predicted pixel has a probability of 0.5 or more. The margin is 10% of the image's longer
    side, rounded half up. The box ends at the image's edges.

    Raises:
        ValueError: the sizes differ
    """
    if probability.shape != truth.shape:
        raise ValueError(f"probability {probability.shape} and truth {truth.shape} differ in size")
    either = (truth != 0) | (probability >= PREDICTED_FROM)
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not rows.size:
        return None
    height, width = truth.shape
    margin = int(margin_share * max(height, width) + 0.5)
    return (
        max(0, int(columns[0]) - margin),
        max(0, int(rows[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
        min(height, int(rows[-1]) + 1 + margin),
    )


def truth_at(size: tuple[int, int], truth: Mask, geometry: Geometry) -> Mask:
    """Sample a frame's true mask at a network's map of (width, height), without interpolation.

    A map pixel is lesion if its centre is on a lesion pixel. Margins of a letterbox are no lesion.
    """
    width, height = size
    x0, y0, x1, y1 = geometry.inner
    rows = _centres(geometry.inner_h, truth.shape[0])
    columns = _centres(geometry.inner_w, truth.shape[1])
    result = np.zeros((height, width), np.uint8)
    result[y0:y1, x0:x1] = truth[np.ix_(rows, columns)]
    return result


def _centres(inner_px: int, frame_px: int) -> NDArray[np.intp]:
    """Return the frame's pixel under the centre of each inner pixel."""
    return (2 * np.arange(inner_px, dtype=np.intp) + 1) * frame_px // (2 * inner_px)
