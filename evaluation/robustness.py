"""Measures the share of Dice that is kept on degraded images.

The scale of severities is qlumen's own (`degradations`). So compare the figures only with other
figures of `qlumen evaluate --robustness`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

from qlumen.datasets.pairs import Pair
from qlumen.evaluation.bootstrap import Clusters, cluster_interval, count_clusters, interval
from qlumen.evaluation.degradations import KINDS, SEVERITIES, degrade
from qlumen.evaluation.run import evaluate
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis

ROUNDS = 1 + len(KINDS) * len(SEVERITIES)


def robustness(
    pairs: Sequence[Pair],
    analysis: FrameAnalysis,
    on_image: Callable[[int], None] = lambda done: None,
    clusters: Clusters = None,
) -> dict[str, Any]:
    """Score every pair unchanged and once for each kind and severity; return the `report`.

    Args:
        clusters: cluster of each pair
        on_image: gets the number of scored images, in the end `ROUNDS` for each pair

    Raises:
        DatasetError: a file cannot be read, or image and mask differ in size
    """
    clean = evaluate(pairs, analysis, on_image=on_image)
    worse: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for done, (kind, severity) in enumerate(product(KINDS, SEVERITIES), start=1):
        change = partial(degrade, kind=kind, severity=severity)
        show = count_on(on_image, done * len(pairs))
        rows = evaluate(pairs, analysis, change=change, on_image=show)
        worse[kind].append([row.scores.dice for row in rows])
    names, dice = [row.name for row in clean], [row.scores.dice for row in clean]
    return report(names, dice, worse, clusters)


def report(
    names: Sequence[str],
    clean: Sequence[float],
    worse: Mapping[str, Sequence[Sequence[float]]],
    clusters: Clusters = None,
) -> dict[str, Any]:
    """Report means, lost and kept Dice, and the Dice of each image.

    `loss` is clean minus worse, and `loss_95` its bootstrap interval over the images' differences.
    Intervals whose key ends in `by_cluster` are None where no clusters are known.
    `kept` is the share of the clean mean Dice, averaged over severities and, for the total, over
    kinds. It is None if nothing was found in the clean images.

    Args:
        clean: Dice by image
        worse: Dice by kind, severity and image
        clusters: cluster of each image
    """
    kinds = {kind: _kind_report(clean, rows, clusters) for kind, rows in worse.items()}
    shares = [row["kept"] for row in kinds.values()]
    each = [
        {"name": name, "clean": dice, **{kind: [row[i] for row in worse[kind]] for kind in worse}}
        for i, (name, dice) in enumerate(zip(names, clean, strict=True))
    ]
    return {
        "count": len(clean),
        "clusters": count_clusters(clusters),
        "clean": {
            "dice": fmean(clean),
            "dice_95": list(interval(clean)),
            "dice_95_by_cluster": cluster_interval(clean, clusters),
        },
        "kept": None if None in shares else fmean(shares),
        "kinds": kinds,
        "images": each,
    }


def _kind_report(
    clean: Sequence[float], worse: Sequence[Sequence[float]], clusters: Clusters
) -> dict[str, Any]:
    rows = []
    for severity, dice in zip(SEVERITIES, worse, strict=True):
        losses = [before - after for before, after in zip(clean, dice, strict=True)]
        rows.append(
            {
                "severity": severity,
                "dice": fmean(dice),
                "loss": fmean(losses),
                "loss_95": list(interval(losses)),
                "loss_95_by_cluster": cluster_interval(losses, clusters),
            }
        )
    whole = fmean(clean)
    kept = fmean(map(fmean, worse)) / whole if whole else None
    return {"kept": kept, "severities": rows}


def count_on(on_image: Callable[[int], None], before: int) -> Callable[[int], None]:
    """Return a progress function that adds the number of earlier images."""
    return lambda done: on_image(before + done)
