import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.latency import (
    DurationHistogram,
    LatencyRecorder,
    NullRecorder,
    bin_values_us,
    milliseconds,
)

HOUR_NS = 3600 * 10**9
DIGITS = 1.001
"""Error of three significant digits; the rounding adds half a microsecond."""


@given(st.lists(st.integers(0, HOUR_NS), min_size=1, max_size=200))
def test_percentiles_are_numpys_to_three_digits(durations: list[int]) -> None:
    """Percentiles of durations up to an hour agree with numpy; count, sum and maximum are exact."""
    histogram = DurationHistogram()
    for duration in durations:
        histogram.add(duration)
    summary = histogram.summary()
    ordered = sorted(durations)
    ranks = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9}
    for name, percent in ranks.items():
        # HDR rounds the rank to the nearest one: the two ranks beside it bound the value.
        rank = percent / 100 * len(ordered)
        below = ordered[max(0, int(rank + 0.5) - 1)] / 1e6
        assert below / DIGITS - 0.001 <= getattr(summary, name) <= below * DIGITS + 0.001
    assert summary.count == len(durations)
    assert summary.max == max(durations) / 1e6
    assert histogram.total_ns == sum(durations)


def test_a_histogram_that_is_kept_as_text_has_the_same_counts() -> None:
    """The HDR library itself reads back the number, median and maximum of the durations."""
    histogram = DurationHistogram()
    for milliseconds_ in range(1, 1000):
        histogram.add(milliseconds_ * 10**6)
    read = HdrHistogram.decode(histogram.encode())
    assert read.get_total_count() == 999
    assert read.get_value_at_percentile(50) == pytest.approx(500_000, rel=1e-3)
    assert read.get_max_value() == pytest.approx(999_000, rel=1e-3)


def test_stages_are_kept_apart_in_the_order_of_first_reports() -> None:
    """Each stage has its own summary, for reported durations and for reported spans."""
    recorder = LatencyRecorder()
    values = np.random.default_rng(0).integers(0, 10**9, 1000)
    recorder.add("b", 5_000_000)
    for frame, value in enumerate(values):
        recorder.span("a", frame, 1_000, 1_000 + int(value))
    summary = recorder.summary()
    assert list(summary) == ["b", "a"]
    assert summary["b"].count == 1
    assert summary["b"].p50 == summary["b"].max == 5.0
    assert summary["a"].p95 == pytest.approx(np.percentile(values, 95) / 1e6, rel=2e-3)


@given(st.lists(st.integers(0, 10_000_000), max_size=100), st.integers(0, 10_000))
def test_cumulative_counts_are_counted_ones(durations_us: list[int], limit_us: int) -> None:
    """The number of durations up to a limit is right, except for rounding."""
    histogram = DurationHistogram()
    for duration in durations_us:
        histogram.add(1000 * duration)
    (counted,) = histogram.cumulative([limit_us])
    assert counted <= sum(duration <= limit_us for duration in durations_us)
    assert counted >= sum(duration * DIGITS <= limit_us for duration in durations_us)
    assert histogram.counts().sum() == len(durations_us)


def test_bins_ascend_and_reach_an_hour() -> None:
    """Every duration has its bin."""
    values = bin_values_us()
    assert (np.diff(values) > 0).all()
    assert values[0] == 0
    assert values[-1] >= 3_600_000_000


def test_a_longer_run_needs_no_more_memory() -> None:
    """The counts keep their size for any duration, also beyond an hour and below zero."""
    histogram = DurationHistogram()
    size = histogram.counts().nbytes
    for duration in (-5, 0, HOUR_NS, 100 * HOUR_NS):
        histogram.add(duration)
    assert histogram.counts().nbytes == size < 200_000
    assert histogram.counts().sum() == histogram.count == 4
    assert histogram.summary().max == 100 * HOUR_NS / 1e6


def test_nothing_recorded_gives_nothing() -> None:
    """A run without frames, and a recorder that is off, have an empty table."""
    assert LatencyRecorder().summary() == {}
    off = NullRecorder()
    off.add("decode", 1)
    off.span("decode", 0, 0, 1)
    assert off.summary() == {}
    assert milliseconds({"decode": 1_500_000}) == {"decode": 1.5}
