"""What a set of images tells of the probabilities themselves, image by image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.evaluation.curves import Counts, curves, pixel_counts
from qlumen.evaluation.reliability import ReliabilityCounts, truth_at
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.segmentation.geometry import Geometry


class Pixels:
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
