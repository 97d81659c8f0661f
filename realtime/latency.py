"""Measures how long each stage takes, and computes percentiles.

Durations are counted in HDR histograms, so ten hours need no more memory than a minute.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray
from rich.table import Table

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1000
US_PER_MS = 1000
END_TO_END = "end_to_end"
"""The stage from the decoded frame to its finished overlay; it includes time in queues."""
QUEUED = "queued_"
"""Prefix of a stage's name for the time that frames waited for the stage."""

PERCENTILES = (50, 90, 95, 99, 99.9)
HIGHEST_US = 3_600_000_000
"""One hour. A longer duration counts as one hour, except in the maximum."""
SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Holds milliseconds of a stage over `count` frames, to three significant digits. `max` is
    exact. `p99_9` is the percentile 99.9."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float


class DurationHistogram:
    """Counts durations from 0 to an hour in microseconds, to three significant digits, in 184 KiB.

    One thread adds; other threads may read at the same time.

    Attributes:
        count, total_ns, max_ns: exact number, sum and maximum of all durations.
    """

    def __init__(self) -> None:
        self._histogram = _empty()
        self.count = self.total_ns = self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count a duration; a negative one counts as 0."""
        duration_ns = max(0, duration_ns)
        rounded_us = (duration_ns + NS_PER_US // 2) // NS_PER_US
        self._histogram.record_value(min(HIGHEST_US, rounded_us))
        self.count += 1
        self.total_ns += duration_ns
        self.max_ns = max(self.max_ns, duration_ns)

    def summary(self) -> LatencySummary:
        """Return the percentiles of a histogram that is not empty: the least durations that
        this percentage of all do not exceed, with the rank rounded to the nearest one."""
        sums, longest_ms = np.cumsum(self.counts()), self.max_ns / NS_PER_MS
        ranks = [max(1, int(percent * int(sums[-1]) / 100 + 0.5)) for percent in PERCENTILES]
        values_us = bin_values_us()[np.searchsorted(sums, ranks)].tolist()
        p50, p90, p95, p99, p99_9 = (min(us / US_PER_MS, longest_ms) for us in values_us)
        return LatencySummary(self.count, p50, p90, p95, p99, p99_9, longest_ms)

    def counts(self) -> NDArray[np.uint64]:
        """Return a copy of the counts by the bins of `bin_values_us`."""
        return np.frombuffer(self._histogram.counts, np.uint64).copy()

    def encode(self) -> str:
        """Return the counts as text that `HdrHistogram.decode` reads, in microseconds."""
        return self._histogram.encode().decode()

    def cumulative(self, limits_us: Sequence[float]) -> list[int]:
        """Return for each limit how many durations do not exceed it."""
        sums = np.concatenate(([0], np.cumsum(self.counts())))
        places = np.searchsorted(bin_values_us(), limits_us, side="right")
        return [int(value) for value in sums[places]]


class LatencyRecorder:
    """Collects durations by stage.

    `add` and `span` may be called from several threads as long as each stage has one.
    """

    def __init__(self) -> None:
        self._stages: dict[str, DurationHistogram] = {}

    def add(self, stage: str, duration_ns: int) -> None:
        histogram = self._stages.get(stage)
        if histogram is None:
            histogram = self._stages.setdefault(stage, DurationHistogram())
        histogram.add(duration_ns)

    def span(self, stage: str, frame: int, begin_ns: int, end_ns: int) -> None:
        """Count a stage's work on the frame of this index. The working thread calls this."""
        self.add(stage, end_ns - begin_ns)

    def stages(self) -> dict[str, DurationHistogram]:
        """Return the histograms by stage, in the order of the first reports."""
        return dict(self._stages)

    def summary(self) -> dict[str, LatencySummary]:
        """Return the percentiles by stage, in the order of the first reports."""
        return {stage: kept.summary() for stage, kept in self.stages().items() if kept.count}


class FrameClock:
    """Reports the stages of one frame, each from the end of the last one.

    Attributes:
        spans_ns: duration of each stage.
        since_ns: end of the last stage.
    """

    def __init__(self, latency: LatencyRecorder, frame_index: int) -> None:
        self._latency, self._index = latency, frame_index
        self.spans_ns: dict[str, int] = {}
        self.since_ns = time.monotonic_ns()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now_ns = time.monotonic_ns()
        self.spans_ns[stage] = now_ns - self.since_ns
        self._latency.span(stage, self._index, self.since_ns, now_ns)
        self.since_ns = now_ns

    def wait(self, stage: str) -> None:
        """End the time that the frame waited for a stage."""
        now_ns = time.monotonic_ns()
        self._latency.span(QUEUED + stage, self._index, self.since_ns, now_ns)
        self.since_ns = now_ns


class NullRecorder(LatencyRecorder):
    """Measures nothing."""

    def add(self, stage: str, duration_ns: int) -> None:
        pass

    def span(self, stage: str, frame: int, begin_ns: int, end_ns: int) -> None:
        pass


@cache
def bin_values_us() -> NDArray[np.float64]:
    """Return the largest duration of each bin of `DurationHistogram.counts`, ascending."""
    histogram = _empty()
    values = (histogram.get_value_from_index(index) for index in range(histogram.counts_len))
    return np.array([histogram.get_highest_equivalent_value(v) for v in values], np.float64)


def latency_table(rows: Mapping[str, LatencySummary]) -> Table:
    """Make a table for the terminal, in milliseconds, with a row for each stage."""
    table = Table(title="latency, ms")
    table.add_column("stage")
    for column in ("p50", "p95", "p99", "max"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in (row.p50, row.p95, row.p99, row.max)))
    return table


def milliseconds(durations_ns: Mapping[str, int]) -> dict[str, float]:
    return {stage: ns / NS_PER_MS for stage, ns in durations_ns.items()}


def _empty() -> HdrHistogram:
    return HdrHistogram(1, HIGHEST_US, SIGNIFICANT_DIGITS)
