"""Choosing the post-processing's thresholds, the operating point, on validation images and
lesion-free pictures: sensitivity against false findings per frame."""

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
"""The mean Dice given up, at most, for a higher `high`: fewer false findings."""
DICE_FOR_NEGATIVES = 0.005
"""The mean Dice given up, at most, for what lesion-free pictures ask for."""
NEGATIVES_WITH_FINDINGS = 0.05
"""The share of lesion-free pictures with a finding that is aimed at."""
RULE = (
    "of the pairs within 0.005 of the best validation Dice and with findings in at most 5% of the "
    "training-side pictures without lesion (where there is none: in the fewest), the highest "
    "sensitivity per lesion on validation; of equal ones the fewest false findings a frame, then "
    "the best Dice"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair of thresholds, and what comes of it.

    Attributes:
        dice: mean, on the validation images.
        with_findings: share of the lesion-free pictures; None without such pictures.
        sensitivity: share of the validation images' lesions that are hit.
        false_findings: a frame, over validation images and lesion-free pictures together.
    """

    thresholds: Thresholds
    dice: float
    with_findings: float | None = None
    sensitivity: float = 0.0
    false_findings: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image's field with the network's map of it, and the true mask where it has a lesion."""

    seen: Observation
    probability: Probability
    truth: Mask | None = None


def choose_thresholds(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    min_area_fraction: float,
    negatives: Sequence[Path] = (),
) -> Choice:
    """Take the candidates by `choose_best`, scored on pairs and lesion-free pictures."""
    samples = collect(pairs, negatives, segmenter)
    return choose_best(operating_points(samples, segmenter.preprocess.fit, min_area_fraction))


def collect(pairs: Sequence[Pair], negatives: Sequence[Path], segmenter: Segmenter) -> list[Sample]:
    """The network's maps of pairs and lesion-free pictures.

    Raises:
        DatasetError: a file cannot be read.
    """
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
    """What comes of each pair of candidates."""
    return [
        _score(Thresholds(low=low, high=high, min_area_fraction=min_area_fraction), samples, fit)
        for low, high in itertools.product(LOW_CANDIDATES, HIGH_CANDIDATES)
        if low <= high
    ]


def choose_best(choices: Sequence[Choice]) -> Choice:
    """With lesion-free pictures by `RULE`.

    Without them, of the choices within 0.002 of the best mean Dice, the highest `high`, and of
    those the best Dice.
    """
    best = max(choice.dice for choice in choices)
    if choices[0].with_findings is None:
        good = [choice for choice in choices if choice.dice >= best - DICE_FOR_FEWER_ALARMS]
        return max(good, key=lambda choice: (choice.thresholds.high, choice.dice))
    good = [choice for choice in choices if choice.dice >= best - DICE_FOR_NEGATIVES]
    bound = max(NEGATIVES_WITH_FINDINGS, min(_share(choice) for choice in good))
    quiet = [choice for choice in good if _share(choice) <= bound]
    return max(quiet, key=lambda c: (c.sensitivity, -c.false_findings, c.dice))


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
