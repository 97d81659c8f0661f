"""Tests whether two networks differ on the same images."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from qlumen.evaluation.bootstrap import Clusters, sum_clusters


def hodges_lehmann(differences: Sequence[float]) -> float:
    """Return the median of the means of all pairs, a pair of a value with itself included.

    It estimates the middle of symmetric differences (Hodges and Lehmann 1963, Ann. Math. Stat. 34),
    as the signed-rank test sees it. Outliers hardly move it.

    Raises:
        ValueError: there are no differences
    """
    if not len(differences):
        raise ValueError("an estimate needs at least one difference")
    values = np.asarray(differences, dtype=np.float64)
    sums = np.concatenate([value + values[place:] for place, value in enumerate(values)])
    return float(np.median(sums) / 2)


def signed_rank_p(differences: Sequence[float], clusters: Clusters = None) -> float:
    """Return the two-sided p of the signed-rank test (Wilcoxon 1945) that differences centre on 0.

    Differences of 0 are left out; if all are 0, p is 1. With clusters the test takes the mean of
    each cluster, because it needs independent values.

    Raises:
        ValueError: there is not one label for each difference
    """
    values = np.asarray(differences, dtype=np.float64)
    if clusters is not None:
        sums, counts = sum_clusters(differences, clusters)
        values = sums / counts
    if not values.any():
        return 1.0
    return float(stats.wilcoxon(values, zero_method="wilcox").pvalue)


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Return the exact two-sided p that an event is as frequent in both of two networks.

    The images on which both agree say nothing (McNemar 1947, Psychometrika 12). The others are a
    coin's throws. The test takes images as independent.

    Args:
        only_one, only_other: number of images with the event in one network alone
    """
    total = only_one + only_other
    return float(stats.binomtest(only_one, total).pvalue) if total else 1.0


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return the q of each p: the false discovery rate if it and all smaller ones count.

    Source: Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57.
    """
    adjusted: list[float] = stats.false_discovery_control(p_values, method="bh").tolist()
    return adjusted
