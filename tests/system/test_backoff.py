"""Tests that pauses double up to the longest one."""

from hypothesis import given
from hypothesis import strategies as st

from qlumen.system.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    pauses = Backoff(0.5, 3.0)
    assert [pauses.pause_s(failures) for failures in range(1, 6)] == [0.5, 1, 2, 3, 3]


@given(st.integers(1, 10**9), st.floats(0.001, 10), st.floats(10, 1000), st.floats(0, 1))
def test_a_pause_stays_within_the_jitter(
    failures: int, first_s: float, most_s: float, jitter: float
) -> None:
    """This holds for any number of failures."""
    exact_s = Backoff(first_s, most_s).pause_s(failures)
    pause_s = Backoff(first_s, most_s, jitter).pause_s(failures)
    assert first_s <= exact_s <= most_s
    assert abs(pause_s - exact_s) <= (jitter + 1e-9) * exact_s


def test_pauses_that_begin_together_end_apart() -> None:
    pauses = Backoff(1.0, 1.0, jitter=0.2)
    assert len({pauses.pause_s(1) for _ in range(100)}) > 90
