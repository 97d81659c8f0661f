"""Compares a network in single precision and in 8 bits, and limits the loss."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlumen.datasets.splits import NEGATIVES_TRAIN, VALIDATION, lesion_free_files, split_pairs
from qlumen.errors import BundleError
from qlumen.evaluation.measure import cpu_has_bf16, measure, time_engines
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import Bundle, Precision
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.segmentation.segmenter import Segmenter

DICE_LOST = 0.003
"""Largest mean Dice that an INT8 bundle may lose on any set."""
DICE_LOST_ON_VAL = 0.0015
NEGATIVES_GAINED = 0.0075
"""Largest loss on validation, and largest share of lesion-free images with a new finding, before
layers return to FP32. Both are half of what would be too much, because other images differ."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Holds what INT8 loses on `val` and training-side lesion-free images; negative if better."""

    dice: float
    with_findings: float

    @property
    def small(self) -> bool:
        return self.dice <= DICE_LOST_ON_VAL and self.with_findings <= NEGATIVES_GAINED

    def __str__(self) -> str:
        return (
            f"validation Dice {-self.dice:+.4f}, lesion-free images with a finding "
            f"{self.with_findings:+.4f}"
        )


def score(segmenter: Segmenter, data: Path) -> tuple[float, float]:
    """Return the mean Dice on `val`, and the share of lesion-free images with a finding.

    These images are of the training side. Without such images the share is 0.
    """
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    dice = means(evaluate(split_pairs(data, VALIDATION), analysis))["dice"]
    rows = evaluate_negatives(lesion_free_files(data, NEGATIVES_TRAIN), analysis)
    found = [row.findings > 0 for row in rows]
    return float(dice or 0), sum(found) / len(found) if found else 0.0


def subtract(before: tuple[float, float], after: tuple[float, float]) -> Loss:
    """Return the loss between two results of `score`."""
    return Loss(before[0] - after[0], after[1] - before[1])


def compare(source: Bundle, bundle: Bundle, data: Path, splits: Sequence[str]) -> dict[str, Any]:
    """Return figures, bytes and milliseconds of a bundle and its INT8 form, as in replay.

    If the processor has bf16, the source is also measured in it.
    """
    forms: list[tuple[str, Bundle, Precision]] = [
        ("before", source, "f32"),
        ("after", bundle, "f32"),
    ]
    if cpu_has_bf16():
        forms.insert(1, ("before_bf16", source, "bf16"))
    with ExitStack() as stack:
        segmenters = {}
        for name, one, precision in forms:
            overrides = ("engine.streams=1", f"engine.precision={precision}")
            segmenters[name] = Segmenter.open(one, load_settings(None, overrides))
            stack.callback(segmenters[name].close)
        figures = {name: measure(segmenter, data, splits) for name, segmenter in segmenters.items()}
        engines = {name: segmenter.engine for name, segmenter in segmenters.items()}
        return {
            **figures,
            "bytes": {"before": _size(source), "after": _size(bundle)},
            "ms": time_engines(engines),
        }


def check_loss(report: Mapping[str, Any]) -> None:
    """Raise BundleError if a set loses more than 0.003 of mean Dice."""
    losses = {
        name: row["dice"] - report["after"][name]["dice"]
        for name, row in report["before"].items()
        if "dice" in row
    }
    worst = max(losses, key=losses.__getitem__)
    if losses[worst] > DICE_LOST:
        raise BundleError(
            f"INT8 loses {losses[worst]:.4f} Dice on {worst}, more than {DICE_LOST}; nothing was "
            "written: try a larger --image-count, or --force"
        )


def _size(bundle: Bundle) -> int:
    return sum(path.stat().st_size for path in bundle.folder.iterdir())
