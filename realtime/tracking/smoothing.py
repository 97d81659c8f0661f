"""Smooths probability maps exponentially along the frames' motion.

It mixes log-odds, not probabilities, so that a certain frame counts for more than an uncertain
one. On real clips a lesion keeps its peak, and flicker and false findings fall as with
probabilities. Mixing probabilities costs sensitivity (`docs/temporal.md`).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.kernels.flow import mix_moved, reverse_flow
from qlumen.realtime.tracking.motion import Flow

Region = tuple[float, float, float, float]

WHOLE_FRAME: Region = (0.0, 0.0, 1.0, 1.0)
CERTAIN = np.float32(0.998)
"""Probabilities are limited to 1 - CERTAIN..CERTAIN, so that no frame outweighs all others."""
FRAME_S = 0.04
"""Time to which the weight refers. Over longer steps the past counts for less."""
REVERSE_ROUNDS = 3
"""Fixed-point steps that turn a flow around."""


class Smoother:
    """Mixes each map with the output before it, moved along. So frames must come in order."""

    def __init__(self, weight: float) -> None:
        """Set the weight of a past of `FRAME_S`: from 0, which leaves maps as they are, below 1.

        Raises:
            ConfigError: the weight is out of these bounds.
        """
        if not 0 <= weight < 1:
            raise ConfigError(f"smoothing weight is {weight}; use 0 <= weight < 1")
        self._weight = weight
        self._past: NDArray[np.float32] | None = None
        self._past_region = WHOLE_FRAME

    def __call__(
        self,
        probability: NDArray[np.float32],
        flow: Flow | None,
        region: Region,
        elapsed_s: float = FRAME_S,
    ) -> NDArray[np.float32]:
        """Return the smoothed map; with weight 0 the same object.

        Args:
            probability: map `(h, w) float32`, C-contiguous, not written to; NaN counts as 0.
            flow: motion from the frame of the call before to this one; None forgets the past.
            region: x0, y0, x1, y1 of the map within the frame, as shares of its size. Pixels
                from outside the region before have no past, nor has a map of another size.
            elapsed_s: seconds since the frame of the call before; the past weighs
                `weight ** (elapsed_s / FRAME_S)`.
        """
        if not self._weight:
            return probability
        return from_log_odds(self.smooth(log_odds(probability), flow, region, elapsed_s))

    def smooth(
        self, odds: NDArray[np.float32], flow: Flow | None, region: Region, elapsed_s: float
    ) -> NDArray[np.float32]:
        """Smooth log-odds as a call smooths probabilities."""
        past = self._past
        if flow is not None and past is not None and past.shape == odds.shape:
            weight = self._weight ** (elapsed_s / FRAME_S)
            back = np.empty_like(flow)
            reverse_flow(flow, REVERSE_ROUNDS, back)
            odds = mix(past, self._past_region, odds, region, back, weight)
        self._past, self._past_region = odds, region
        return odds

    def reset(self) -> None:
        """Forget the past."""
        self._past = None


def mix(
    other: NDArray[np.float32],
    other_region: Region,
    now: NDArray[np.float32],
    region: Region,
    to_other: Flow,
    weight: float,
) -> NDArray[np.float32]:
    """Mix a map with one of another frame, taken from where each pixel is there.

    Args:
        to_other: displacements from this frame to the other one.
        weight: weight of the other map.
    """
    mixed = np.empty_like(now)
    regions = np.array([other_region, region], np.float64)
    mix_moved(other, regions[0], now, regions[1], to_other, weight, mixed)
    return mixed


def log_odds(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log-odds of probabilities, limited to 1 - `CERTAIN`..`CERTAIN`; NaN counts as 0."""
    limited = np.fmin(np.fmax(probability, 1 - CERTAIN), CERTAIN)
    odds: NDArray[np.float32] = cv2.log(limited / (1 - limited))
    return odds


def from_log_odds(odds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities, `float32`, of log-odds."""
    against: NDArray[np.float32] = cv2.exp(-odds)
    return np.reciprocal(against + 1)
