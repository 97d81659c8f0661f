"""Images without a lesion: what is found in them is false."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from qlumen.datasets.pairs import read_picture
from qlumen.evaluation.bootstrap import interval
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.bgr_image import BgrImage


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """Of one picture without a lesion.

    Attributes:
        findings: all false. area_share: of the picture, covered by them.
        largest_probability: of any pixel.
    """

    name: str
    findings: int
    area_share: float
    largest_probability: float


def evaluate_negatives(
    files: Sequence[Path],
    analysis: FrameAnalysis,
    on_image: Callable[[int], None] = lambda done: None,
) -> list[NegativeScores]:
    """Segment pictures in which there is nothing to find.

    Raises:
        DatasetError: a file cannot be read.
    """
    rows = []
    for frame, judgement in analysis.judge_all(_read_frames(files)):
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


def summary(rows: Sequence[NegativeScores]) -> dict[str, float | list[float]]:
    """Share of pictures with a finding, its 95% interval, findings a picture."""
    hit = [float(row.findings > 0) for row in rows]
    return {
        "with_findings": sum(hit) / len(rows),
        "with_findings_95": list(interval(hit)),
        "findings_per_image": sum(row.findings for row in rows) / len(rows),
    }


def _read_frames(files: Sequence[Path]) -> Iterator[Frame]:
    for index, file in enumerate(files):
        image = BgrImage(read_picture(file))
        yield Frame(index, index, Fraction(1), image, time.monotonic_ns(), name=file.name)
