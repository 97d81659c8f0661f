"""Estimates bootstrap intervals of measured ratios (Efron 1979)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LOW_PERCENT, HIGH_PERCENT = 2.5, 97.5
SEED = 20240


@dataclass(frozen=True, slots=True)
class Interval:
    """Holds a value and its 95% interval."""

    value: float
    low: float
    high: float

    def one_minus(self) -> "Interval":
        return Interval(1 - self.value, 1 - self.high, 1 - self.low)

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> Interval:
    """Return the median ratio of two series that were measured pair by pair; the interval draws
    pairs with replacement."""
    ratios = np.array(above) / np.array(below)
    picks = np.random.default_rng(SEED).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    return _interval(float(np.median(ratios)), np.median(ratios[picks], axis=1))


def percentile_ratio(
    new: Sequence[dict[int, int]], old: Sequence[dict[int, int]], percent: float
) -> Interval:
    """Return the ratio of a percentile of two runs; a segment is counts by duration.

    Frames that follow each other are alike. Whole segments of a run are therefore drawn with
    replacement, not single frames (a cluster bootstrap, Davison and Hinkley 1997, 3.8).
    """
    rng = np.random.default_rng(SEED)
    drawn_new, drawn_old = _resample(new, percent, rng), _resample(old, percent, rng)
    values = (percentile(new, percent), percentile(old, percent))
    return _interval(values[0] / values[1] if values[1] else float("nan"), drawn_new / drawn_old)


def percentile(segments: Sequence[dict[int, int]], percent: float) -> float:
    """Return the least duration that `percent` of all do not exceed."""
    durations, counts = _matrix(segments)
    return float(_percentiles(durations, counts.sum(axis=0, keepdims=True), percent)[0])


def _resample(
    segments: Sequence[dict[int, int]], percent: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    durations, counts = _matrix(segments)
    share = np.full(len(counts), 1 / len(counts))
    weights = rng.multinomial(len(counts), share, RESAMPLES)
    return _percentiles(durations, weights @ counts, percent)


def _matrix(segments: Sequence[dict[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the durations in ascending order, and the counts by segment and duration."""
    durations = sorted({duration for segment in segments for duration in segment})
    counts = [[segment.get(duration, 0) for duration in durations] for segment in segments]
    return np.array(durations, np.float64), np.array(counts, np.int64)


def _percentiles(
    durations: NDArray[np.float64], counts: NDArray[np.int64], percent: float
) -> NDArray[np.float64]:
    sums = counts.cumsum(axis=1)
    wanted = np.maximum(1, np.ceil(sums[:, -1] * percent / 100))
    return np.maximum(durations[np.argmax(sums >= wanted[:, None], axis=1)], 1.0)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(drawn, (LOW_PERCENT, HIGH_PERCENT))
    return Interval(value, float(low), float(high))
