"""Choosing the post-processing's thresholds on validation images."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qlumen.evaluation.pairs import Pair, read_pair
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Mask
from qlumen.realtime.geometry import Fit, Geometry
from qlumen.realtime.postprocess import Postprocessor
from qlumen.realtime.segmenter import Segmenter

LOW_CANDIDATES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
HIGH_CANDIDATES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
DICE_FOR_FEWER_ALARMS = 0.002
"""The mean Dice given up, at most, for a higher `high`: fewer false findings."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen thresholds and their mean Dice on the validation images."""

    thresholds: Thresholds
    dice: float


def choose_thresholds(
    pairs: Sequence[Pair], segmenter: Segmenter, min_area_fraction: float
) -> Choice:
    """Of the pairs of candidates within 0.002 of the best mean Dice, take the highest `high`,
    and of those the one with the best Dice.
    """
    maps = [_map_and_truth(pair, segmenter) for pair in pairs]
    fit = segmenter.preprocess.fit
    choices = []
    for low, high in itertools.product(LOW_CANDIDATES, HIGH_CANDIDATES):
        if low <= high:
            thresholds = Thresholds(low=low, high=high, min_area_fraction=min_area_fraction)
            choices.append(Choice(thresholds, _mean_dice(maps, thresholds, fit)))
    best = max(choice.dice for choice in choices)
    good = [choice for choice in choices if choice.dice >= best - DICE_FOR_FEWER_ALARMS]
    return max(good, key=lambda choice: (choice.thresholds.high, choice.dice))


def _map_and_truth(pair: Pair, segmenter: Segmenter) -> tuple[Probability, Mask]:
    image, truth = read_pair(pair)
    return segmenter.submit(image).result(), truth


def _mean_dice(maps: Sequence[tuple[Probability, Mask]], thresholds: Thresholds, fit: Fit) -> float:
    postprocess = Postprocessor(**thresholds.model_dump())
    return float(np.mean([_dice(postprocess, fit, *row) for row in maps]))


def _dice(postprocess: Postprocessor, fit: Fit, probability: Probability, truth: Mask) -> float:
    frame, network = truth.shape[::-1], probability.shape[::-1]
    mask = postprocess(probability, Geometry.of(frame, network, fit)).mask
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0
