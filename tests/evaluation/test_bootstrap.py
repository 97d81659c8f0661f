import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qlumen.evaluation.bootstrap import interval


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_interval_is_scipys(seed: int) -> None:
    """SciPy's percentile bootstrap gives the same bounds, up to its own random numbers."""
    values = np.random.default_rng(seed).beta(5, 1, size=80)
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = other.high - other.low
    low, high = interval(values.tolist())
    assert low == pytest.approx(other.low, abs=0.1 * width)
    assert high == pytest.approx(other.high, abs=0.1 * width)


def test_interval_covers_the_true_mean_in_about_95_of_100_samples() -> None:
    """The interval misses 0.5 in a few of 300 samples of 60 uniform numbers."""
    rng = np.random.default_rng(7)
    bounds = [interval(rng.random(60).tolist()) for _ in range(300)]
    assert 0.9 < np.mean([low <= 0.5 <= high for low, high in bounds]) < 0.99


def test_equal_values_have_no_spread_and_none_are_refused() -> None:
    """Equal values give an interval of width 0, and an empty list raises an error."""
    assert interval([0.7] * 5) == pytest.approx((0.7, 0.7))
    with pytest.raises(ValueError, match="at least one"):
        interval([])
