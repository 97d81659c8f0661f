"""Paired differences between bottlenecks, with an interval over seeds and one over images."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from qlumen.evaluation.bootstrap import COVERAGE, interval

METRICS = ("dice", "iou", "with_findings")
Result = Mapping[str, Any]


def differences(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Of each pair of bottlenecks, on each set and metric, over the seeds that both have.

    `mean`: first minus second, averaged over images and seeds.
    `seeds_95`: Student's t interval of the seeds' differences, each a mean over images: how the
    difference would vary over other trainings on the same images. None with one seed.
    `images_95`: percentile bootstrap over the images' differences, each a mean over seeds: how
    it would vary over other images of the same kind, for these trainings.
    """
    names = list(dict.fromkeys(result["bottleneck"] for result in results))
    rows = []
    for one, other in combinations(names, 2):
        for place, metric, matrix in _paired(_of(results, one), _of(results, other)):
            rows.append(
                {
                    "bottlenecks": [one, other],
                    "set": place,
                    "metric": metric,
                    "seeds": len(matrix),
                    "mean": float(matrix.mean()),
                    "seeds_95": t_interval(matrix.mean(axis=1).tolist()),
                    "images_95": list(interval(matrix.mean(axis=0).tolist())),
                }
            )
    return rows


def t_interval(values: Sequence[float]) -> list[float] | None:
    """95% interval of the mean by Student's t, of normal values; None for fewer than two."""
    if len(values) < 2:
        return None
    sample = np.asarray(values, dtype=np.float64)
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    reach = float(stats.t.ppf((1 + COVERAGE) / 2, len(sample) - 1) * error)
    return [float(sample.mean()) - reach, float(sample.mean()) + reach]


def _of(results: Sequence[Result], bottleneck: str) -> dict[int, Result]:
    return {r["seed"]: r for r in results if r["bottleneck"] == bottleneck}


def _paired(
    one: Mapping[int, Result], other: Mapping[int, Result]
) -> list[tuple[str, str, np.ndarray]]:
    """Set, metric and the `(seeds, images)` differences."""
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return []
    first = one[seeds[0]]["sets"]
    pairs = []
    for place, scores in first.items():
        for metric in (name for name in METRICS if name in scores):
            rows = [
                np.subtract(one[s]["sets"][place][metric], other[s]["sets"][place][metric])
                for s in seeds
            ]
            pairs.append((place, metric, np.stack(rows)))
    return pairs
