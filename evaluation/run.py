"""Scores a bundle on images with masks, with the engine and post-processing of replay."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.groups import Origin, known_clusters, places_by_source
from qlumen.datasets.pairs import Pair, read_pair
from qlumen.evaluation.bootstrap import (
    Clusters,
    cluster_interval,
    count_clusters,
    interval,
    take_clusters,
)
from qlumen.evaluation.curves import MapFigures
from qlumen.evaluation.detection import Hits, hits, lesion_boxes, summary, summary_intervals
from qlumen.evaluation.metrics import Scores, score
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import spread_map
from qlumen.realtime.endoscope.field import crop
from qlumen.realtime.frames import Frame, FrameResult, Judgement
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.sinks.images import MaskWriter

Change = Callable[[Image, str], Image]
"""Function from an image and its file's name to an image of the same size."""
METRICS = ("dice", "iou", "precision", "recall", "mae", "hd95_px")
METRICS_WITH_INTERVAL = ("dice", "iou")
SMALL_BELOW = 0.02
LARGE_FROM = 0.10
"""Bounds of the lesions' share of the frame. 5% of the training images are below the first bound.
About equal numbers are between the two bounds and above."""
STRATA = ("none", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Holds the scores of one image.

    Attributes:
        findings: number of findings
        hits: findings against the boxes of the true mask's parts
        area_share: share of the frame that the true mask covers
    """

    name: str
    findings: int
    scores: Scores
    hits: Hits
    area_share: float


def evaluate(
    pairs: Sequence[Pair],
    analysis: FrameAnalysis,
    *,
    change: Change = lambda image, name: image,
    save_masks: Path | None = None,
    figures: MapFigures | None = None,
    on_image: Callable[[int], None] = lambda done: None,
) -> list[ImageScores]:
    """Score every pair at its mask's own size.

    Args:
        change: function that changes each image before the network
        save_masks: folder for the masks, as PNG
        figures: collector of the probabilities

    Raises:
        DatasetError: a file cannot be read, or image and mask differ in size
    """

    def read_frames() -> Iterator[Frame]:
        for index, pair in enumerate(pairs):
            image, truth = read_pair(pair)
            name = pair.image.name
            yield still_frame(index, change(image, name), name, truth)

    writer = MaskWriter(save_masks) if save_masks else None
    rows = []
    fit = analysis.segmenter.preprocess.fit
    for frame, judgement in analysis.judge_all(read_frames()):
        truth, segmentation = frame.truth, judgement.segmentation
        assert truth is not None
        probability = spread_map(_map(judgement), judgement.seen, fit)
        scores = score(segmentation.mask, truth, probability)
        found = [finding.box for finding in segmentation.findings]
        overlap = hits(found, lesion_boxes(truth))
        rows.append(ImageScores(frame.name, len(found), scores, overlap, float(truth.mean())))
        if figures:
            own, box = _map(judgement), judgement.seen.field.box
            size = own.shape[1], own.shape[0]
            geometry = Geometry.of((box[2] - box[0], box[3] - box[1]), size, fit)
            figures.add(probability, truth, own, crop(truth, box), geometry)
        if writer:
            writer.write(FrameResult(frame, segmentation))
        on_image(len(rows))
    return rows


def still_frame(index: int, image: Image, name: str, truth: Mask | None = None) -> Frame:
    """Make a single frame from `(H, W, 3) uint8` BGR, with the present time."""
    now_ns = time.monotonic_ns()
    return Frame(index, index, Fraction(1), BgrImage(image), now_ns, name=name, truth=truth)


def means(rows: Sequence[ImageScores]) -> dict[str, float | None]:
    """Return the mean of each metric over the images where it is defined."""
    result: dict[str, float | None] = {}
    for metric in METRICS:
        values = [getattr(row.scores, metric) for row in rows]
        defined = [value for value in values if value is not None]
        result[metric] = float(np.mean(defined)) if defined else None
    return result


def report(
    rows: Sequence[ImageScores],
    about: dict[str, Any],
    figures: MapFigures | None = None,
    origins: Sequence[Origin] | None = None,
) -> dict[str, Any]:
    """Return the content of `--json`.

    With `figures` it includes scores by threshold and the calibration of the lesion regions. With
    `origins`, one for each row, it includes intervals by cluster and the figures of each source.
    """
    clusters = known_clusters(origins) if origins else None
    dice = [row.scores.dice for row in rows]
    return {
        **about,
        **summarise(rows, clusters),
        "by_size": by_size([row.area_share for row in rows], dice, clusters),
        **(figures.report() if figures else {}),
        **({"sources": _sources(rows, origins)} if origins else {}),
        "images": [_image(row, origins[i] if origins else None) for i, row in enumerate(rows)],
    }


def summarise(rows: Sequence[ImageScores], clusters: Clusters) -> dict[str, Any]:
    """Return number of images, of clusters, means, and detection, with their 95% intervals.

    Intervals by cluster are None where the clusters are not known, or where there is only one.
    """
    values = {m: [getattr(row.scores, m) for row in rows] for m in METRICS_WITH_INTERVAL}
    return {
        "count": len(rows),
        "clusters": count_clusters(clusters),
        "mean": means(rows),
        "interval_95": {m: list(interval(values[m])) for m in values},
        "interval_95_by_cluster": {m: cluster_interval(values[m], clusters) for m in values},
        "detection": summary(row.hits for row in rows),
        **summary_intervals([row.hits for row in rows], clusters),
    }


def stratum(area_share: float) -> str:
    """Return `none` without a lesion, `small` below 2% of the frame, `large` from 10% upwards."""
    if area_share <= 0:
        return "none"
    if area_share < SMALL_BELOW:
        return "small"
    return "large" if area_share >= LARGE_FROM else "medium"


def by_size(
    area_shares: Sequence[float], dice: Sequence[float], clusters: Clusters = None
) -> dict[str, dict[str, Any]]:
    """Return number of images, mean Dice and its 95% intervals in each stratum that occurs."""
    groups: dict[str, list[int]] = {name: [] for name in STRATA}
    for place, share in enumerate(area_shares):
        groups[stratum(share)].append(place)
    result = {}
    for name, places in groups.items():
        if places:
            values = [dice[place] for place in places]
            result[name] = {
                "images": len(values),
                "dice": sum(values) / len(values),
                "dice_95": list(interval(values)),
                "dice_95_by_cluster": cluster_interval(values, take_clusters(clusters, places)),
            }
    return result


def _sources(rows: Sequence[ImageScores], origins: Sequence[Origin]) -> dict[str, Any]:
    found = {}
    for source, places in places_by_source(origins).items():
        clusters = known_clusters([origins[place] for place in places])
        found[source] = summarise([rows[place] for place in places], clusters)
    return found


def _image(row: ImageScores, origin: Origin | None) -> dict[str, Any]:
    return {
        "name": row.name,
        **({"cluster": origin.cluster, "source": origin.source} if origin else {}),
        "findings": row.findings,
        **asdict(row.scores),
        **asdict(row.hits),
        "area_share": row.area_share,
    }


def _map(judgement: Judgement) -> NDArray[np.float32]:
    assert judgement.probability is not None, "unrelated images are always judged"
    return judgement.probability
