"""How long each stage takes: durations by stage, and their percentiles."""

from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

NS_PER_MS = 1_000_000
END_TO_END = "end_to_end"
"""The stage from the decoded frame to its finished overlay, time in queues included."""


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Milliseconds of one stage over `count` frames."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class LatencyRecorder:
    """Collects durations; eight bytes each, so an hour at 25 frames/s is 0.7 MB a stage.

    `add` may be called from several threads as long as each stage has one.
    """

    def __init__(self) -> None:
        self._ns: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))

    def add(self, stage: str, duration_ns: int) -> None:
        self._ns[stage].append(duration_ns)

    def summary(self) -> dict[str, LatencySummary]:
        """Percentiles by stage, in the order in which the stages first reported."""
        return {stage: _summary(values) for stage, values in self._ns.items() if values}


def milliseconds(durations_ns: Mapping[str, int]) -> dict[str, float]:
    return {stage: ns / NS_PER_MS for stage, ns in durations_ns.items()}


def _summary(values: "array[int]") -> LatencySummary:
    ms = np.frombuffer(values, dtype=np.int64) / NS_PER_MS
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return LatencySummary(len(ms), float(p50), float(p95), float(p99), float(ms.max()))
