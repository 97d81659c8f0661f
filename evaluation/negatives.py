"""Scores images without a lesion, in which every finding is false."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qlumen.datasets.groups import Origin, known_clusters, places_by_source
from qlumen.datasets.pairs import read_bgr
from qlumen.evaluation.bootstrap import Clusters, cluster_interval, count_clusters, interval
from qlumen.evaluation.run import Change, still_frame
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """Holds the findings of one image without a lesion, all false.

    Attributes:
        area_share: share of the image that the findings cover
    """

    name: str
    findings: int
    area_share: float
    largest_probability: float


def evaluate_negatives(
    files: Sequence[Path],
    analysis: FrameAnalysis,
    on_image: Callable[[int], None] = lambda done: None,
    change: Change = lambda image, name: image,
) -> list[NegativeScores]:
    """Segment images without a lesion; raise DatasetError if a file cannot be read.

    Args:
        change: function that changes each image before the network
    """
    rows = []
    frames = (
        still_frame(i, change(read_bgr(file), file.name), file.name) for i, file in enumerate(files)
    )
    for frame, judgement in analysis.judge_all(frames):
        segmentation = judgement.segmentation
        rows.append(
            NegativeScores(
                frame.name,
                len(segmentation.findings),
                float(segmentation.mask.mean()),
                float(segmentation.probability.max()),
            )
        )
        on_image(len(rows))
    return rows


def summary(rows: Sequence[NegativeScores], clusters: Clusters = None) -> dict[str, Any]:
    """Return the share of images with a finding, its 95% intervals, and findings per image."""
    hit = [float(row.findings > 0) for row in rows]
    return {
        "with_findings": sum(hit) / len(rows),
        "with_findings_95": list(interval(hit)),
        "with_findings_95_by_cluster": cluster_interval(hit, clusters),
        "findings_per_image": sum(row.findings for row in rows) / len(rows),
    }


def report(
    rows: Sequence[NegativeScores],
    about: dict[str, Any],
    origins: Sequence[Origin] | None = None,
) -> dict[str, Any]:
    """Return the content of `--json`; with `origins`, one for each row, also by source."""
    if origins is None:
        return {**about, **_summarise(rows, None), "images": [asdict(row) for row in rows]}
    sources = {}
    for source, places in places_by_source(origins).items():
        clusters = known_clusters([origins[place] for place in places])
        sources[source] = _summarise([rows[place] for place in places], clusters)
    images = [
        {"cluster": origin.cluster, "source": origin.source, **asdict(row)}
        for row, origin in zip(rows, origins, strict=True)
    ]
    total = _summarise(rows, known_clusters(origins))
    return {**about, **total, "sources": sources, "images": images}


def _summarise(rows: Sequence[NegativeScores], clusters: Clusters) -> dict[str, Any]:
    return {
        "count": len(rows),
        "clusters": count_clusters(clusters),
        **summary(rows, clusters),
    }
