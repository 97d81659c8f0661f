"""Computes bootstrap intervals of a mean, over images or over clusters of images."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 0
COVERAGE = 0.95
Clusters = Sequence[Hashable] | None
"""One label for each value: values with equal labels are not independent. None: all are."""


def interval(values: Sequence[float], clusters: Clusters = None) -> tuple[float, float]:
    """Return the 95% percentile interval of the mean (Efron 1979), with replacement.

    With clusters it draws whole clusters, and takes the mean over all values of those that are
    drawn (Davison and Hinkley 1997, 3.8). Frames of one video are alike, so the interval over
    single frames is too narrow.

    It shows how the mean varies over other images of the same kind, and not over other hospitals
    or trainings. The same values always give the same interval.

    Raises:
        ValueError: there are no values, or not one label for each
    """
    if not len(values):
        raise ValueError("an interval needs at least one value")
    sums, counts = sum_clusters(values, range(len(values)) if clusters is None else clusters)
    rows = np.random.default_rng(SEED).integers(len(sums), size=(RESAMPLES, len(sums)))
    outside = 100 * (1 - COVERAGE) / 2
    means = sums[rows].sum(axis=1) / counts[rows].sum(axis=1)
    low, high = np.percentile(means, (outside, 100 - outside))
    return float(low), float(high)


def cluster_interval(values: Sequence[float], clusters: Clusters) -> list[float] | None:
    """Return the interval by cluster; None without clusters, or with one, which has no spread."""
    if clusters is None or count_clusters(clusters) == 1:
        return None
    return list(interval(values, clusters))


def count_clusters(clusters: Clusters) -> int | None:
    """Return the number of clusters; None if they are not known."""
    return None if clusters is None else len(set(clusters))


def take_clusters(clusters: Clusters, places: Sequence[int]) -> Clusters:
    """Return the labels at some places."""
    return None if clusters is None else [clusters[place] for place in places]


def sum_clusters(
    values: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return sum and number of the values of each cluster, in the order of first labels.

    Raises:
        ValueError: the number of labels is another one
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values need as many labels, not {len(clusters)}")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    rows = [numbers[label] for label in clusters]
    sums = np.bincount(rows, weights=np.asarray(values, dtype=np.float64))
    return np.asarray(sums, dtype=np.float64), np.bincount(rows)
