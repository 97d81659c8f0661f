"""A network in single precision and in 8 bits: their figures, and whether too much is lost."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlumen.datasets.splits import NEGATIVES, VALIDATION, negative_files, split_pairs
from qlumen.errors import BundleError
from qlumen.evaluation.measure import cpu_has_bf16, measure, time_engines
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import Bundle, Precision
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.segmentation.segmenter import Segmenter

DICE_LOST = 0.003
"""The mean Dice on any set that an INT8 bundle may lose."""
DICE_LOST_ON_VAL = 0.0015
NEGATIVES_GAINED = 0.0075
"""What may be lost on validation, and the share of the lesion-free pictures that may newly
have a finding, before layers are put back to FP32: half of what would be too much, since other
pictures differ."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Of an INT8 network against its FP32 one, on `val` and the training-side lesion-free
    pictures; negative where INT8 is better."""

    dice: float
    with_findings: float

    @property
    def small(self) -> bool:
        return self.dice <= DICE_LOST_ON_VAL and self.with_findings <= NEGATIVES_GAINED

    def __str__(self) -> str:
        return (
            f"validation Dice {-self.dice:+.4f}, lesion-free pictures with a finding "
            f"{self.with_findings:+.4f}"
        )


def score(segmenter: Segmenter, data: Path) -> tuple[float, float]:
    """Mean Dice on `val`, and the share of the training-side lesion-free pictures, if there are
    any, with a finding."""
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    dice = means(evaluate(split_pairs(data, VALIDATION), analysis))["dice"]
    rows = evaluate_negatives(negative_files(data / NEGATIVES, training=True), analysis)
    found = [row.findings > 0 for row in rows]
    return float(dice or 0), sum(found) / len(found) if found else 0.0


def subtract(before: tuple[float, float], after: tuple[float, float]) -> Loss:
    """The loss between two of `score`."""
    return Loss(before[0] - after[0], after[1] - before[1])


def compare(source: Bundle, bundle: Bundle, data: Path, splits: Sequence[str]) -> dict[str, Any]:
    """Figures, bytes and milliseconds of a bundle and its INT8 form, through the engine and
    post-processing of replay; also of the source in bf16 arithmetic, where the processor has it."""
    ways: list[tuple[str, Bundle, Precision]] = [
        ("before", source, "f32"),
        ("after", bundle, "f32"),
    ]
    if cpu_has_bf16():
        ways.insert(1, ("before_bf16", source, "bf16"))
    with ExitStack() as stack:
        segmenters = {}
        for name, one, precision in ways:
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
    """Raise BundleError where a set loses more mean Dice than it may."""
    losses = {
        name: row["dice"] - report["after"][name]["dice"]
        for name, row in report["before"].items()
        if "dice" in row
    }
    worst = max(losses, key=losses.__getitem__)
    if losses[worst] > DICE_LOST:
        raise BundleError(
            f"INT8 loses {losses[worst]:.4f} Dice on {worst}, more than {DICE_LOST}; nothing was "
            "written: try more --pictures, or --force"
        )


def _size(bundle: Bundle) -> int:
    return sum(path.stat().st_size for path in bundle.folder.iterdir())
