"""Compares two networks, A and B, image by image."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import fmean
from typing import Any

from qlumen.evaluation.bootstrap import (
    Clusters,
    cluster_interval,
    count_clusters,
    interval,
    take_clusters,
)
from qlumen.evaluation.degradations import KINDS, SEVERITIES, degrade
from qlumen.evaluation.negatives import NegativeScores
from qlumen.evaluation.run import ImageScores
from qlumen.evaluation.statistics import adjust, hodges_lehmann, mcnemar_p, signed_rank_p
from qlumen.realtime.pixels.arrays import Image

FIGURES = ("dice", "missed", "false_finding")


@dataclass(frozen=True, slots=True)
class Condition:
    """Says how images are degraded; without a kind they stay as they are."""

    kind: str | None = None
    severity: int | None = None

    def change(self, image: Image, name: str) -> Image:
        """Degrade an image as `degrade` does."""
        if self.kind is None or self.severity is None:
            return image
        return degrade(image, name, kind=self.kind, severity=self.severity)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Holds what a network did on one image.

    Attributes:
        dice: None in a list of images without a lesion
        missed: whether no finding hit a lesion; None if the image shows none
        false_finding: whether the image has a finding; None if it shows a lesion
    """

    name: str
    dice: float | None
    missed: bool | None
    false_finding: bool | None


def conditions(robustness: bool) -> list[Condition]:
    """Return the condition of unchanged images and, for robustness, each kind and severity."""
    worse = product(KINDS, SEVERITIES) if robustness else ()
    return [Condition(), *(Condition(kind, severity) for kind, severity in worse)]


def outcome(row: ImageScores | NegativeScores) -> Outcome:
    """Return what counts of an image's scores."""
    if isinstance(row, NegativeScores):
        return Outcome(row.name, None, None, row.findings > 0)
    if row.hits.lesions:
        return Outcome(row.name, row.scores.dice, row.hits.hit == 0, None)
    return Outcome(row.name, row.scores.dice, None, row.findings > 0)


def compare_outcomes(
    a: Sequence[Outcome], b: Sequence[Outcome], clusters: Clusters = None
) -> dict[str, Any]:
    """Report the differences, B minus A, on the same images in the same order.

    `dice` has mean, Hodges-Lehmann median, intervals, and the p of the signed-rank test, which
    takes the means of clusters where they are known. `missed` and `false_finding` are shares of
    images, with intervals and the p of McNemar's test. A figure that no image has is None.

    Args:
        clusters: cluster of each image
    """
    report: dict[str, Any] = {"images": len(a), "clusters": count_clusters(clusters)}
    for figure in FIGURES:
        report[figure] = _compare_figure(figure, a, b, clusters)
    each = zip(a, b, strict=True)
    report["each"] = [{"a": asdict(one), "b": asdict(other)} for one, other in each]
    return report


def add_q(rows: Sequence[dict[str, Any]]) -> None:
    """Add the q of each p, over all rows of a run and for each figure separately."""
    for figure in FIGURES:
        tested = [row[figure] for row in rows if row[figure]]
        for record, q in zip(tested, adjust([one["p"] for one in tested]), strict=True):
            record["q"] = q


def _compare_figure(
    figure: str, a: Sequence[Outcome], b: Sequence[Outcome], clusters: Clusters
) -> dict[str, Any] | None:
    places = [place for place, one in enumerate(a) if getattr(one, figure) is not None]
    if not places:
        return None
    own = take_clusters(clusters, places)
    before, after = ([float(getattr(rows[p], figure)) for p in places] for rows in (a, b))
    differences = [new - old for old, new in zip(before, after, strict=True)]
    report = {
        "images": len(places),
        "clusters": count_clusters(own),
        "a": fmean(before),
        "b": fmean(after),
        "difference": fmean(differences),
        "difference_95": list(interval(differences)),
        "difference_95_by_cluster": cluster_interval(differences, own),
    }
    if figure == "dice":
        median, p = hodges_lehmann(differences), signed_rank_p(differences, own)
        return {**report, "hodges_lehmann": median, "p": p}
    only_a, only_b = differences.count(-1), differences.count(1)
    return {**report, "only_a": only_a, "only_b": only_b, "p": mcnemar_p(only_a, only_b)}
