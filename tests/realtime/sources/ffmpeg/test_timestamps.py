"""Missing and disordered time stamps become the right ones."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.sources.ffmpeg.timestamps import Timestamps

INCREASING = st.lists(st.integers(0, 10**9), min_size=1, unique=True).map(sorted)
STEPS = st.fractions(min_value=1, max_value=1000, max_denominator=1001)


@given(INCREASING, STEPS)
def test_good_time_stamps_are_kept(stamps: list[int], step: Fraction) -> None:
    """Increasing time stamps stay as they are, however uneven."""
    timestamps = Timestamps(step)
    assert [timestamps.stamp(stamp, None) for stamp in stamps] == stamps
    assert timestamps.estimated == 0


@given(st.integers(1, 400), STEPS)
def test_without_any_they_do_not_drift(count: int, step: Fraction) -> None:
    """The n-th estimate lies within half a unit of n steps."""
    timestamps = Timestamps(step)
    stamps = [timestamps.stamp(None, None) for _ in range(count)]
    assert timestamps.estimated == count
    assert all(abs(stamp - index * step) <= Fraction(1, 2) for index, stamp in enumerate(stamps))


@given(st.permutations(range(12)))
def test_disordered_ones_give_way_to_decoding_times(shuffled: list[int]) -> None:
    """With increasing decoding times, times increase in any order."""
    timestamps = Timestamps(Fraction(1))
    stamps = [timestamps.stamp(pts, 20 + index) for index, pts in enumerate(shuffled)]
    assert stamps == sorted(set(stamps))


def test_a_hole_is_filled_one_step_on() -> None:
    """Frames without a time stamp follow the last known one; the next known one counts."""
    timestamps = Timestamps(Fraction(3600))
    given_stamps = [900, None, None, 20000, None]
    assert [timestamps.stamp(s, None) for s in given_stamps] == [900, 4500, 8100, 20000, 23600]
    assert timestamps.estimated == 3


def test_times_never_go_back() -> None:
    """A frame whose time and decoding time are not later comes one step after the last."""
    timestamps = Timestamps(Fraction(2))
    assert [timestamps.stamp(stamp, stamp) for stamp in [5, 6, 3, 6, 20]] == [5, 6, 8, 10, 20]
    assert timestamps.estimated == 2
