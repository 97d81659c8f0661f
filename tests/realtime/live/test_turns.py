"""Tests that turns are fair: nobody starves, and shares follow the weights."""

import math
import random
import threading
import time
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.frames import Frame
from qlumen.realtime.live.turns import (
    CREDIT_SECONDS,
    LONGEST_SECONDS,
    TURN_SECONDS,
    FairOrder,
    Share,
    Turns,
)
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.queues import DroppingQueue

WEIGHTS = st.floats(0.1, 10, allow_nan=False)
COSTS = st.floats(0, 100, allow_nan=False)
SLACK = 1e-6


def play(order: FairOrder, asking: list[Share], cost_s: float) -> Share:
    """Give one turn of this length to a share that asks."""
    for share in asking:
        order.ask(share)
    chosen = order.first(asking)
    order.begin(chosen)
    order.end(chosen, cost_s)
    return chosen


@given(st.lists(WEIGHTS, min_size=2, max_size=6), st.integers(1, 300))
def test_turns_of_all_who_always_ask_follow_their_weights(weights: list[float], turns: int) -> None:
    """At any time two shares differ, in turns over weight, by at most one turn of each: the bound
    of the paper."""
    order, shares = FairOrder(), [Share(weight) for weight in weights]
    counts = dict.fromkeys(shares, 0)
    for _ in range(turns):
        counts[play(order, shares, TURN_SECONDS / 2)] += 1
    for a in shares:
        for b in shares:
            difference = abs(counts[a] / a.weight - counts[b] / b.weight)
            assert difference <= 1 / a.weight + 1 / b.weight + SLACK


@given(st.lists(WEIGHTS, min_size=2, max_size=6), st.data())
def test_nobody_starves_whatever_turns_cost_and_whoever_asks(
    weights: list[float], data: st.DataObject
) -> None:
    """Between two turns of one that asks, another gets at most the turns that the weights and the
    longest charged turn allow, and those that it has saved up."""
    order, shares = FairOrder(), [Share(weight) for weight in weights]
    patient, others = shares[0], shares[1:]
    dearest = LONGEST_SECONDS / TURN_SECONDS
    since = dict.fromkeys(others, 0)
    for _ in range(data.draw(st.integers(1, 150))):
        asking = [patient, *(each for each in others if data.draw(st.booleans()))]
        chosen = play(order, asking, data.draw(COSTS))
        if chosen is patient:
            since = dict.fromkeys(others, 0)
            continue
        since[chosen] += 1
        allowed = dearest / patient.weight + CREDIT_SECONDS / TURN_SECONDS
        assert since[chosen] <= math.ceil(allowed * chosen.weight) + 1


@given(st.integers(1, 500), st.integers(2, 50))
def test_a_silent_source_saves_little_up(silent: int, after: int) -> None:
    """However long it was silent, it then gets a few turns, and afterwards every second one."""
    order, talks, returns = FairOrder(), Share(), Share()
    for _ in range(silent):
        play(order, [talks], TURN_SECONDS)
    got = [play(order, [talks, returns], TURN_SECONDS) for _ in range(2 * after)]
    assert -1 <= got.count(returns) - after <= CREDIT_SECONDS / TURN_SECONDS / 2 + 1


def test_expensive_frames_are_paid_for_by_their_own_source() -> None:
    """Turns of five times the usual length come a fifth as often."""
    order, cheap, dear = FairOrder(), Share(), Share()
    counts = {cheap: 0, dear: 0}
    for _ in range(2000):
        for share in counts:
            order.ask(share)
        chosen = order.first(list(counts))
        order.begin(chosen)
        order.end(chosen, LONGEST_SECONDS if chosen is dear else TURN_SECONDS / 10)
        counts[chosen] += 1
    assert math.isclose(counts[cheap] / counts[dear], LONGEST_SECONDS / TURN_SECONDS, rel_tol=0.05)


def frame(index: int) -> Frame:
    return Frame(index, index, Fraction(1, 25), BgrImage(np.zeros((4, 4, 3), np.uint8)), 0)


def test_a_turn_takes_the_frame_that_is_newest_when_it_begins() -> None:
    """A frame that comes during the wait for the turn replaces the one that asked."""
    turns, busy, waits = Turns(), Share(), Share()
    inbox: DroppingQueue[Frame] = DroppingQueue()
    inbox.put(frame(1))
    first: DroppingQueue[Frame] = DroppingQueue()
    first.put(frame(0))
    taken: list[Frame | None] = []

    def take() -> None:
        with turns.next_frame(waits, inbox, 1) as newest:
            taken.append(newest)

    with turns.next_frame(busy, first, 1):
        thread = threading.Thread(target=take)
        thread.start()
        time.sleep(TURN_SECONDS)
        inbox.put(frame(2))
    thread.join()
    assert [each.index for each in taken if each] == [2]


def test_without_a_frame_there_is_no_turn() -> None:
    """A source that delivers nothing never keeps others waiting, and is not counted."""
    turns, share = Turns(), Share()
    with turns.next_frame(share, DroppingQueue(), 0.01) as nothing:
        assert nothing is None
    assert share.rate() == 0


def test_a_turn_that_hangs_does_not_stop_the_others() -> None:
    """While one source hangs in its turn, another has many; the one that failed is released."""
    turns, hangs, works = Turns(), Share(), Share()
    held, hung = threading.Event(), DroppingQueue[Frame]()
    hung.put(frame(0))

    def hang() -> None:
        with turns.next_frame(hangs, hung, 1):
            held.wait(60)

    thread = threading.Thread(target=hang)
    thread.start()
    inbox: DroppingQueue[Frame] = DroppingQueue()
    for index in range(20):
        inbox.put(frame(index))
        with turns.next_frame(works, inbox, 1) as given_:
            assert given_ is not None
    assert thread.is_alive()
    assert works.rate() > 0
    held.set()
    thread.join()


@given(st.integers(0, 10**6))
def test_who_often_asks_late_keeps_its_weight(seed: int) -> None:
    """A thread that has just had its turn may ask after the next one began. Where a quarter of the
    turns are followed by that, three to one still holds to a fifteenth."""
    order, heavy, light, chance = FairOrder(), Share(3), Share(1), random.Random(seed)
    counts, late = {heavy: 0, light: 0}, None
    for _ in range(2000):
        chosen = play(order, [each for each in counts if each is not late], TURN_SECONDS)
        counts[chosen] += 1
        late = chosen if chance.random() < 0.25 else None
    assert counts[heavy] / counts[light] >= 2.8
