"""Scoring a bundle on images with masks, through the engine and post-processing of replay."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.pairs import Pair, read_pair
from qlumen.evaluation.bootstrap import interval
from qlumen.evaluation.detection import Hits, hits, lesion_boxes, summary, summary_intervals
from qlumen.evaluation.metrics import Scores, score
from qlumen.evaluation.pixels import Pixels
from qlumen.evaluation.strata import by_size
from qlumen.realtime.engines.base import Ticket
from qlumen.realtime.frames import Frame, FrameResult, Segmentation
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.masks import MaskWriter

Change = Callable[[Image, str], Image]
"""From a picture and its file's name to one of the same size."""
METRICS = ("dice", "iou", "precision", "recall", "mae", "hd95_px")


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Attributes:
    findings: their number. hits: findings against the boxes of the true mask's parts.
    area_share: of the frame, covered by the true mask.
    """

    name: str
    findings: int
    scores: Scores
    hits: Hits
    area_share: float


def evaluate(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    *,
    change: Change = lambda image, name: image,
    save_masks: Path | None = None,
    pixels: Pixels | None = None,
    on_image: Callable[[int], None] = lambda done: None,
) -> list[ImageScores]:
    """Score every pair at its mask's own size, the picture after `change`; `save_masks` takes the
    masks as PNG, `pixels` the probabilities.

    Raises:
        DatasetError: a file cannot be read, or image and mask differ in size.
    """
    writer = MaskWriter(save_masks) if save_masks else None
    rows = []
    for frame, truth, segmentation in _segmented(pairs, segmenter, change):
        probability = _at_frame_size(segmentation, segmenter, frame)
        scores = score(segmentation.mask, truth, probability)
        found = [finding.box for finding in segmentation.findings]
        overlap = hits(found, lesion_boxes(truth))
        rows.append(ImageScores(frame.name, len(found), scores, overlap, float(truth.mean())))
        if pixels:
            pixels.add(probability, truth, segmentation.probability, _geometry(frame, segmenter))
        if writer:
            writer.write(FrameResult(frame, segmentation))
        on_image(len(rows))
    return rows


def means(rows: Sequence[ImageScores]) -> dict[str, float | None]:
    """Mean of each metric over the images where it is defined."""
    result: dict[str, float | None] = {}
    for metric in METRICS:
        values = [getattr(row.scores, metric) for row in rows]
        defined = [value for value in values if value is not None]
        result[metric] = float(np.mean(defined)) if defined else None
    return result


def intervals(rows: Sequence[ImageScores]) -> dict[str, list[float]]:
    """95% bootstrap intervals of the mean Dice and IoU."""
    return {
        metric: list(interval([getattr(row.scores, metric) for row in rows]))
        for metric in ("dice", "iou")
    }


def report(
    rows: Sequence[ImageScores], about: dict[str, Any], pixels: Pixels | None = None
) -> dict[str, Any]:
    """What `--json` writes: means, intervals, sizes, detection, each image, and what was run;
    with `pixels` also scores by threshold and the calibration of the lesion regions.
    """
    images = [
        {
            "name": row.name,
            "findings": row.findings,
            **asdict(row.scores),
            **asdict(row.hits),
            "area_share": row.area_share,
        }
        for row in rows
    ]
    return {
        **about,
        "count": len(rows),
        "mean": means(rows),
        "interval_95": intervals(rows),
        "by_size": by_size([r.area_share for r in rows], [r.scores.dice for r in rows]),
        "detection": summary(row.hits for row in rows),
        "detection_95": summary_intervals([row.hits for row in rows]),
        **(pixels.report() if pixels else {}),
        "images": images,
    }


def _segmented(
    pairs: Sequence[Pair], segmenter: Segmenter, change: Change
) -> Iterator[tuple[Frame, Mask, Segmentation]]:
    """Read and submit images while the network works on those before."""
    flying: deque[tuple[Frame, Mask, Ticket]] = deque()
    for index, pair in enumerate(pairs):
        if len(flying) == segmenter.engine.requests:
            yield _landed(segmenter, *flying.popleft())
        read, truth = read_pair(pair)
        image = change(read, pair.image.name)
        flying.append((_frame(index, pair, image), truth, segmenter.submit(BgrImage(image))))
    while flying:
        yield _landed(segmenter, *flying.popleft())


def _landed(
    segmenter: Segmenter, frame: Frame, truth: Mask, ticket: Ticket
) -> tuple[Frame, Mask, Segmentation]:
    return frame, truth, segmenter.finish(frame, ticket.result())


def _frame(index: int, pair: Pair, image: Image) -> Frame:
    return Frame(
        index, index, Fraction(1), BgrImage(image), time.monotonic_ns(), name=pair.image.name
    )


def _at_frame_size(
    segmentation: Segmentation, segmenter: Segmenter, frame: Frame
) -> NDArray[np.float32]:
    """The probability map without its margins, interpolated to the frame."""
    x0, y0, x1, y1 = _geometry(frame, segmenter).inner
    inner = np.ascontiguousarray(segmentation.probability[y0:y1, x0:x1])
    resized = cv2.resize(inner, frame.size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _geometry(frame: Frame, segmenter: Segmenter) -> Geometry:
    return Geometry.of(frame.size, segmenter.engine.output_size, segmenter.preprocess.fit)
