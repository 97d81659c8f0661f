from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qlumen.ablation.tables import differences, t_interval


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_t_interval_is_scipys(values: list[float]) -> None:
    """SciPy's one-sample t test gives the same bounds."""
    low, high = t_interval(values) or (np.nan, np.nan)
    if np.ptp(values) == 0:  # SciPy divides by the spread
        assert (low, high) == pytest.approx((values[0], values[0]))
        return
    other = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((other.low, other.high), abs=1e-9)


def test_t_interval_of_a_worked_case() -> None:
    """1, 2, 3 have deviation 1 and the interval 2 -+ 4.3027 / sqrt(3); one value has None."""
    assert t_interval([1, 2, 3]) == pytest.approx([2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5], 1e-4)
    assert t_interval([1]) is None


def run(bottleneck: str, seed: int, dice: list[float]) -> dict[str, Any]:
    return {"bottleneck": bottleneck, "seed": seed, "sets": {"val": {"dice": dice}}}


def test_differences_of_a_worked_case() -> None:
    """A shift of 0.1 on every image and seed gives 0.1 -+ 0 over images and over seeds."""
    results = [run("vqc", 0, [0.5, 0.9]), run("identity", 0, [0.4, 0.8])]
    results += [run("vqc", 1, [0.7, 0.6]), run("identity", 1, [0.6, 0.5])]
    (row,) = differences(results)
    assert (row["bottlenecks"], row["seeds"]) == (["vqc", "identity"], 2)
    assert row["mean"] == pytest.approx(0.1)
    assert row["seeds_95"] == pytest.approx([0.1, 0.1])
    assert row["images_95"] == pytest.approx([0.1, 0.1])


def test_only_seeds_of_both_are_compared() -> None:
    """A seed that only one bottleneck has counts in no difference."""
    results = [run("vqc", 0, [0.5]), run("vqc", 1, [0.9]), run("identity", 0, [0.4])]
    (row,) = differences(results)
    assert (row["seeds"], row["seeds_95"]) == (1, None)
    assert row["mean"] == pytest.approx(0.1)
    assert differences([run("vqc", 0, [0.5]), run("identity", 1, [0.4])]) == []
