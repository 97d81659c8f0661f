"""Measures a network's scores on all sets and its time, for bundles and reports."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qlumen.datasets.splits import NEGATIVES_SCORE, VALIDATION, lesion_free_files, split_pairs
from qlumen.evaluation.negatives import evaluate_negatives, summary
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.openvino import ov
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.segmentation.segmenter import Segmenter

TEST_SPLITS = ("test_kvasir", "test_clinicdb")
MEASURED_SPLITS = (VALIDATION, *TEST_SPLITS)
"""Lists that an ablation compares on."""
TIMED_SEED = 0
ROUNDS = 10
RUNS_PER_ROUND = 5


def measure(segmenter: Segmenter, data: Path, splits: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return a manifest's `metrics`: mean scores on splits, and findings in lesion-free images.

    Splits without a list are left out. The lesion-free images are those of `negatives_score`.

    Raises:
        DatasetError: a listed file is missing or unreadable
    """
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    metrics: dict[str, dict[str, Any]] = {}
    for split in splits:
        if (data / "splits" / f"{split}.txt").is_file():
            rows = evaluate(split_pairs(data, split), analysis)
            rounded = {k: v if v is None else round(v, 4) for k, v in means(rows).items()}
            metrics[split] = {"images": len(rows), **rounded}
    if free := lesion_free_files(data, NEGATIVES_SCORE):
        share = summary(evaluate_negatives(free, analysis))["with_findings"]
        metrics[NEGATIVES_SCORE] = {"images": len(free), "with_findings": share}
    return metrics


def time_engines(
    engines: Mapping[str, Engine], rounds: int = ROUNDS, runs: int = RUNS_PER_ROUND
) -> dict[str, dict[str, float]]:
    """Return p50 and p95 of the time for one image in each engine, in ms.

    The engines take turns, so that other load on the machine affects all of them. Their ratios
    hold even if the times do not.
    """
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            width, height = engine.input_size
            rng = np.random.default_rng(TIMED_SEED)
            image = rng.integers(0, 256, (height, width, 3), np.uint8)
            engine.infer(image)
            for _ in range(runs):
                started = time.monotonic_ns()
                engine.infer(image)
                spent[name].append((time.monotonic_ns() - started) / 1e6)
    return {
        name: {"p50": float(np.median(ms)), "p95": float(np.percentile(ms, 95))}
        for name, ms in spent.items()
    }


def cpu_has_bf16() -> bool:
    """Check whether the processor computes in bf16."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
