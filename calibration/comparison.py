"""A bundle and its INT8 form, measured side by side in one run."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from qlumen.evaluation.measure import cpu_has_bf16, measure, time_engines
from qlumen.networks.bundle import Bundle
from qlumen.networks.precision import Precision
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.segmentation.segmenter import Segmenter


def compare(source: Bundle, bundle: Bundle, data: Path, splits: Sequence[str]) -> dict[str, Any]:
    """Figures, bytes and milliseconds of both, through the engine and post-processing of replay;
    also of the source in bf16 arithmetic, where the processor has it."""
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


def worst_loss(report: Mapping[str, Any]) -> tuple[str, float]:
    """The set that loses most mean Dice, and how much."""
    losses = {
        name: row["dice"] - report["after"][name]["dice"]
        for name, row in report["before"].items()
        if "dice" in row
    }
    name = max(losses, key=losses.__getitem__)
    return name, losses[name]


def _size(bundle: Bundle) -> int:
    return sum(path.stat().st_size for path in bundle.folder.iterdir())
