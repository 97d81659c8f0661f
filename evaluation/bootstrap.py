"""Computes bootstrap intervals of a mean."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
SEED = 0
COVERAGE = 0.95


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean (Efron 1979), with replacement.

    It shows how the mean varies over other images of the same kind, and not over other hospitals
    or trainings. The same values always give the same interval.

    Raises:
        ValueError: there are no values
    """
    if not len(values):
        raise ValueError("an interval needs at least one value")
    sample = np.asarray(values, dtype=np.float64)
    rows = np.random.default_rng(SEED).integers(len(sample), size=(RESAMPLES, len(sample)))
    outside = 100 * (1 - COVERAGE) / 2
    low, high = np.percentile(sample[rows].mean(axis=1), (outside, 100 - outside))
    return float(low), float(high)
