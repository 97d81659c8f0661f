"""The session's clock agrees with each frame's source and arrival."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.sources.clock import MAX_DISTANCE_US, MIN_STEP_US, SessionClock

STEP_US = 40_000
ANYWHERE_S = st.floats(-1e6, 1e6)
JITTER_US = st.integers(0, MAX_DISTANCE_US // 4)


@given(ANYWHERE_S, st.integers(0, 10**15), st.lists(JITTER_US, min_size=2, max_size=30))
def test_a_steady_source_is_followed(start_s: float, now_ns: int, jitter_us: list[int]) -> None:
    """While the source's time runs on, its own distances are kept, whatever the jitter."""
    clock = SessionClock()
    stamps = [
        clock.stamp(start_s + i * STEP_US / 1e6, now_ns + (i * STEP_US + late) * 1000)
        for i, late in enumerate(jitter_us)
    ]
    assert stamps[0] == 0
    assert all(abs(stamp - i * STEP_US) <= 1 for i, stamp in enumerate(stamps))


@given(st.lists(st.tuples(ANYWHERE_S, st.integers(0, 10**10), st.booleans()), max_size=40))
def test_time_never_goes_back(frames: list[tuple[float, int, bool]]) -> None:
    """Each frame is later than the one before, whatever the source's time stamps are."""
    clock, now_ns, stamps = SessionClock(), 0, []
    for source_s, pause_ns, restart in frames:
        now_ns += pause_ns
        if restart:
            clock.restart()
        stamps.append(clock.stamp(source_s, now_ns))
    assert all(b - a >= MIN_STEP_US for a, b in pairwise(stamps))


@given(ANYWHERE_S, ANYWHERE_S, st.integers(10**6, 10**13))
def test_a_new_connection_starts_at_its_arrival(
    before_s: float, after_s: float, pause_us: int
) -> None:
    """After a restart the source's time is tied to the arrival, wherever it begins."""
    clock = SessionClock()
    clock.stamp(before_s, 0)
    clock.restart()
    first = clock.stamp(after_s, pause_us * 1000)
    second = clock.stamp(after_s + 0.04, pause_us * 1000)
    assert first == pause_us
    assert abs(second - first - STEP_US) <= 1


@given(st.sampled_from((-1e5, -1.5, 1.5, 1e5)))
def test_a_jump_is_not_used(jump_s: float) -> None:
    """A source whose time jumps by more than a second is tied to the arrival again."""
    clock = SessionClock()
    for i in range(5):
        clock.stamp(i * 0.04, i * STEP_US * 1000)
    assert clock.stamp(5 * 0.04 + jump_s, 5 * STEP_US * 1000) == 5 * STEP_US
    assert clock.stamp(6 * 0.04 + jump_s, 6 * STEP_US * 1000) == 6 * STEP_US
