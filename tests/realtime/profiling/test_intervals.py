import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.profiling.intervals import percentile, percentile_ratio, ratio_interval

SEGMENT = st.dictionaries(st.integers(1, 1000), st.integers(1, 5), min_size=1, max_size=20)
SEGMENTS = st.lists(SEGMENT, min_size=1, max_size=5)


@given(SEGMENTS, st.sampled_from((50, 90, 99)))
def test_percentiles_are_numpys(segments: list[dict[int, int]], percent: float) -> None:
    """The percentile of all segments is numpy's, by the inverse of the distribution."""
    values = [value for s in segments for value, count in s.items() for _ in range(count)]
    wanted = np.percentile(values, percent, method="inverted_cdf")
    assert percentile(segments, percent) == wanted


@given(SEGMENTS, st.sampled_from((50, 99)))
def test_a_run_against_itself_has_ratio_1_within_its_interval(
    segments: list[dict[int, int]], percent: float
) -> None:
    """The interval of several segments contains 1."""
    ratio = percentile_ratio(segments, segments, percent)
    assert ratio.value == 1
    assert ratio.low <= ratio.high
    if len(segments) > 1:
        assert ratio.low <= 1 <= ratio.high


def test_intervals_hold_the_true_ratio_about_as_often_as_they_say() -> None:
    """Segments differ more than frames here. The interval holds the ratio 95 times of 100; 100
    trials with 20 segments may give 85 to 100."""
    rng = np.random.default_rng(5)

    def run(scale: float) -> list[dict[int, int]]:
        segments = []
        for _ in range(20):
            level = scale * 10_000 * rng.lognormal(0, 0.1)
            values = np.round(level * rng.lognormal(0, 0.02, 25)).astype(int).tolist()
            segments.append({value: values.count(value) for value in set(values)})
        return segments

    held = 0
    for _ in range(100):
        ratio = percentile_ratio(run(1.3), run(1.0), 50)
        held += ratio.low <= 1.3 <= ratio.high
    assert 85 <= held <= 100


def test_turns_cancel_what_both_series_share() -> None:
    """A slow period of both series does not change their ratio."""
    below = np.array([10.0, 11, 3, 9, 10, 12, 2, 10])
    ratio = ratio_interval((0.98 * below).tolist(), below.tolist())
    assert ratio.value == pytest.approx(0.98)
    assert ratio.low == pytest.approx(ratio.high)
    assert ratio.one_minus().value == pytest.approx(0.02)
