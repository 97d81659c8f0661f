"""Chooses the post-processing thresholds, the operating point, on images with known truth."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qlumen.datasets.pairs import Pair, read_bgr, read_pair
from qlumen.evaluation.detection import hits, lesion_boxes, summary
from qlumen.evaluation.run import still_frame
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Observation
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.segmentation.geometry import Fit
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter

LOW_CANDIDATES = (0.3, 0.4, 0.5, 0.6, 0.7)
HIGH_CANDIDATES = (
    0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995,
)  # fmt: skip
DICE_FOR_FEWER_ALARMS = 0.002
"""Largest loss of mean Dice for a higher `high`, which gives fewer false findings."""
DICE_FOR_NEGATIVES = 0.005
"""Largest loss of mean Dice for a higher sensitivity."""
MOST_FINDINGS = 0.05
"""Default limit of the share of lesion-free images with a finding."""


def describe_rule(pairs: str, negatives: str, most_findings: float) -> str:
    """Describe how `choose_best` chooses, for cards and reports; the names are those of lists."""
    return (
        f"among the pairs with findings in at most {most_findings:.0%} of the images of "
        f"`{negatives}` (if no pair has so few: with the fewest), and within {DICE_FOR_NEGATIVES} "
        f"of their best Dice on `{pairs}`: the pair with the highest sensitivity per lesion there. "
        "Equal pairs: the fewest false findings per frame, then the best Dice."
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Holds a pair of thresholds and its scores.

    Attributes:
        dice: mean on the validation images
        with_findings: share of the lesion-free images with a finding; None without such images
        sensitivity: share of the validation images' lesions that are hit
        false_findings: mean per frame, over validation and lesion-free images together
    """

    thresholds: Thresholds
    dice: float
    with_findings: float | None = None
    sensitivity: float = 0.0
    false_findings: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Holds an image's field and map, and its true mask; None for a lesion-free image."""

    seen: Observation
    probability: Probability
    truth: Mask | None = None


def choose_thresholds(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    min_area_fraction: float,
    negatives: Sequence[Path] = (),
) -> Choice:
    """Choose thresholds by `choose_best`, scored on pairs and lesion-free images."""
    samples = collect(pairs, negatives, segmenter)
    return choose_best(operating_points(samples, segmenter.preprocess.fit, min_area_fraction))


def collect(pairs: Sequence[Pair], negatives: Sequence[Path], segmenter: Segmenter) -> list[Sample]:
    """Run the network on pairs and lesion-free images; raise DatasetError for unreadable files."""
    ill = map(read_pair, pairs)
    free = ((read_bgr(file), None) for file in negatives)
    read = itertools.chain[tuple[Image, Mask | None]](ill, free)
    frames = (still_frame(0, image, "", truth) for image, truth in read)
    samples = []
    for frame, judgement in FrameAnalysis(segmenter, Settings(), related=False).judge_all(frames):
        assert judgement.probability is not None, "unrelated images are always judged"
        samples.append(Sample(judgement.seen, judgement.probability, frame.truth))
    return samples


def operating_points(samples: Sequence[Sample], fit: Fit, min_area_fraction: float) -> list[Choice]:
    """Score each pair of candidates."""
    return [
        _score(Thresholds(low=low, high=high, min_area_fraction=min_area_fraction), samples, fit)
        for low, high in itertools.product(LOW_CANDIDATES, HIGH_CANDIDATES)
        if low <= high
    ]


def choose_best(choices: Sequence[Choice], most_findings: float = MOST_FINDINGS) -> Choice:
    """Choose by the rule of `describe_rule` if there are lesion-free images.

    Otherwise take the highest `high` among the choices within 0.002 of the best mean Dice. Among
    equal ones take the best Dice.
    """
    if choices[0].with_findings is None:
        best = max(choice.dice for choice in choices)
        good = [choice for choice in choices if choice.dice >= best - DICE_FOR_FEWER_ALARMS]
        return max(good, key=lambda choice: (choice.thresholds.high, choice.dice))
    bound = max(most_findings, min(_share(choice) for choice in choices))
    quiet = [choice for choice in choices if _share(choice) <= bound]
    best = max(choice.dice for choice in quiet)
    good = [choice for choice in quiet if choice.dice >= best - DICE_FOR_NEGATIVES]
    return max(good, key=lambda c: (c.sensitivity, -c.false_findings, c.dice))


def _share(choice: Choice) -> float:
    return 0.0 if choice.with_findings is None else choice.with_findings


def _score(thresholds: Thresholds, samples: Sequence[Sample], fit: Fit) -> Choice:
    interpreter = Interpreter(Postprocessor(**thresholds.model_dump()), fit, None)
    dice, rows, found = [], [], []
    for sample in samples:
        segmentation = interpreter.interpret(sample.seen, sample.probability).segmentation
        boxes = [finding.box for finding in segmentation.findings]
        if sample.truth is None:
            found.append(bool(boxes))
            rows.append(hits(boxes, []))
        else:
            dice.append(_dice(segmentation.mask, sample.truth))
            rows.append(hits(boxes, lesion_boxes(sample.truth)))
    counts = summary(rows)
    return Choice(
        thresholds,
        float(np.mean(dice)),
        float(np.mean(found)) if found else None,
        float(counts["lesion_sensitivity"] or 0),
        float(counts["false_findings_per_frame"] or 0),
    )


def _dice(mask: Mask, truth: Mask) -> float:
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0
