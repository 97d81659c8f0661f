import numpy as np
import pytest

from qlumen.realtime.latency import LatencyRecorder, milliseconds


def test_percentiles_are_numpys_in_milliseconds() -> None:
    """Each stage is summarised by itself, in the order of first reports."""
    recorder = LatencyRecorder()
    values = np.random.default_rng(0).integers(0, 10**9, 1000)
    recorder.add("b", 5_000_000)
    for value in values:
        recorder.add("a", int(value))
    summary = recorder.summary()
    assert list(summary) == ["b", "a"]
    assert summary["b"].count == 1
    assert summary["b"].p50 == summary["b"].max == 5.0
    assert summary["a"].p95 == pytest.approx(np.percentile(values, 95) / 1e6)
    assert summary["a"].max == values.max() / 1e6


def test_nothing_recorded_gives_nothing() -> None:
    """A run without frames has an empty table, not a division by zero."""
    assert LatencyRecorder().summary() == {}
    assert milliseconds({"decode": 1_500_000}) == {"decode": 1.5}
