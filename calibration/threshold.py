"""Choosing the post-processing's thresholds on validation images and lesion-free pictures."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qlumen.evaluation.pairs import Pair, read_pair, read_picture
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Mask
from qlumen.realtime.geometry import Fit, Geometry
from qlumen.realtime.postprocess import Postprocessor
from qlumen.realtime.segmenter import Segmenter

LOW_CANDIDATES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
HIGH_CANDIDATES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
DICE_FOR_FEWER_ALARMS = 0.002
"""The mean Dice given up, at most, for a higher `high`: fewer false findings."""
DICE_FOR_NEGATIVES = 0.005
"""The mean Dice given up, at most, for what lesion-free pictures ask for."""
NEGATIVES_WITH_FINDINGS = 0.05
"""The share of lesion-free pictures with a finding that is aimed at."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Thresholds, their mean Dice on the validation images, and the share of lesion-free
    pictures in which something is found; None without such pictures.
    """

    thresholds: Thresholds
    dice: float
    with_findings: float | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """A network's map, its frame's size, and the true mask of frames with a lesion."""

    probability: Probability
    size: tuple[int, int]
    truth: Mask | None = None


def choose_thresholds(
    pairs: Sequence[Pair],
    segmenter: Segmenter,
    min_area_fraction: float,
    negatives: Sequence[Path] = (),
) -> Choice:
    """Take the candidates by `chosen`, scored on pairs and lesion-free pictures."""
    lesions = [_with_truth(pair, segmenter) for pair in pairs]
    free = [_without_lesion(file, segmenter) for file in negatives]
    fit = segmenter.preprocess.fit
    choices = []
    for low, high in itertools.product(LOW_CANDIDATES, HIGH_CANDIDATES):
        if low <= high:
            thresholds = Thresholds(low=low, high=high, min_area_fraction=min_area_fraction)
            choices.append(_scored(thresholds, lesions, free, fit))
    return chosen(choices)


def chosen(choices: Sequence[Choice]) -> Choice:
    """Without lesion-free pictures: of the choices within 0.002 of the best mean Dice, the
    highest `high`, and of those the best Dice.

    With them, of the choices within 0.005 of the best mean Dice: the best Dice among those
    with findings in 5% of the lesion-free pictures or fewer; where there is none, the fewest
    such pictures, and of those the best Dice.
    """
    best = max(choice.dice for choice in choices)
    if choices[0].with_findings is None:
        good = [choice for choice in choices if choice.dice >= best - DICE_FOR_FEWER_ALARMS]
        return max(good, key=lambda choice: (choice.thresholds.high, choice.dice))
    good = [choice for choice in choices if choice.dice >= best - DICE_FOR_NEGATIVES]
    quiet = [choice for choice in good if _share(choice) <= NEGATIVES_WITH_FINDINGS]
    if quiet:
        return max(quiet, key=lambda choice: choice.dice)
    return min(good, key=lambda choice: (_share(choice), -choice.dice))


def _share(choice: Choice) -> float:
    return 0.0 if choice.with_findings is None else choice.with_findings


def _with_truth(pair: Pair, segmenter: Segmenter) -> _Sample:
    image, truth = read_pair(pair)
    return _Sample(segmenter.submit(image).result(), (image.shape[1], image.shape[0]), truth)


def _without_lesion(file: Path, segmenter: Segmenter) -> _Sample:
    image = read_picture(file)
    return _Sample(segmenter.submit(image).result(), (image.shape[1], image.shape[0]))


def _scored(
    thresholds: Thresholds, lesions: Sequence[_Sample], free: Sequence[_Sample], fit: Fit
) -> Choice:
    postprocess = Postprocessor(**thresholds.model_dump())
    masks = [_mask(postprocess, fit, sample) for sample in lesions]
    dice = [_dice(mask, row.truth) for mask, row in zip(masks, lesions, strict=True)]
    found = [bool(_mask(postprocess, fit, sample).any()) for sample in free]
    share = float(np.mean(found)) if found else None
    return Choice(thresholds, float(np.mean(dice)), share)


def _mask(postprocess: Postprocessor, fit: Fit, sample: _Sample) -> Mask:
    network = (sample.probability.shape[1], sample.probability.shape[0])
    return postprocess(sample.probability, Geometry.of(sample.size, network, fit)).mask


def _dice(mask: Mask, truth: Mask | None) -> float:
    real = np.zeros_like(mask) if truth is None else truth
    total = int(mask.sum()) + int(real.sum())
    return 2 * int((mask & real).sum()) / total if total else 1.0
