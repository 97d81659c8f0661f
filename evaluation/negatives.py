"""Scores images without a lesion, in which every finding is false."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.pairs import read_bgr
from qlumen.evaluation.bootstrap import interval
from qlumen.evaluation.run import still_frame
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
) -> list[NegativeScores]:
    """Segment images without a lesion; raise DatasetError if a file cannot be read."""
    rows = []
    frames = (still_frame(i, read_bgr(file), file.name) for i, file in enumerate(files))
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


def summary(rows: Sequence[NegativeScores]) -> dict[str, float | list[float]]:
    """Return the share of images with a finding, its 95% interval, and findings per image."""
    hit = [float(row.findings > 0) for row in rows]
    return {
        "with_findings": sum(hit) / len(rows),
        "with_findings_95": list(interval(hit)),
        "findings_per_image": sum(row.findings for row in rows) / len(rows),
    }
