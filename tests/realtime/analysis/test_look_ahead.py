"""Tests what a recording gains from the frames that follow, against plainly written rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.analysis.look_ahead import SMOOTHING_S, LookAhead
from qlumen.realtime.analysis.observe import ignore_laps
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.endoscope.field import whole_field
from qlumen.realtime.frames import Condition, Judgement, Observation
from qlumen.realtime.segmentation.postprocess import Postprocessor

SIDE = 24
SIZE = (48, 48)
STEP_S = 0.04
HOLD_S = 0.12
HELD_FRAMES = 3
WEIGHT = 0.4
STILL = np.zeros((8, 8, 2), np.float32)
POSTPROCESS = Postprocessor(low=0.5, high=0.5, min_area_fraction=0.0)
Map = NDArray[np.float32]


def disc(there: bool) -> Map:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(rows - 12, columns - 10) < 5
    return (0.9 * (inside & there)).astype(np.float32)


def limits(**changes: float) -> TemporalSettings:
    plain = {"smoothing": 0.0, "hold_s": HOLD_S, "release_s": 0.0, "gap_s": 0.0, "remember_s": 0.0}
    return TemporalSettings(**plain | changes)


def judge(
    maps: list[Map | None], temporal: TemporalSettings, *, ahead: bool
) -> list[tuple[int, Judgement]]:
    """Interpret the maps of still frames, `STEP_S` apart; None stands for a frame not judged."""
    interpreter = (LookAhead if ahead else Interpreter)(POSTPROCESS, "stretch", temporal)
    seen = [
        Observation(
            SIZE,
            index * STEP_S,
            whole_field(SIZE),
            Condition.BLURRED if one is None else Condition.CLEAR,
            one is not None,
            STILL if index else None,
            STEP_S if index else 0.0,
        )
        for index, one in enumerate(maps)
    ]
    frames = zip(range(len(maps)), seen, maps, [ignore_laps] * len(maps), strict=True)
    return list(interpreter.interpret_all(frames))


def runs(there: list[bool]) -> list[range]:
    """Return the runs of frames in a row in which the disc is there."""
    edges = [
        i for i, (a, b) in enumerate(zip([False, *there], [*there, False], strict=True)) if a != b
    ]
    return [range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@settings(max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_lesion_that_holds_is_shown_from_its_first_frame(there: list[bool]) -> None:
    """Looking ahead shows a whole run that is long enough. Without it the run's first frames are
    missing. A shorter run is never shown. Each frame comes once, in order."""
    maps: list[Map | None] = [disc(one) for one in there]
    long = [run for run in runs(there) if len(run) > HELD_FRAMES]
    for ahead, skipped in ((True, 0), (False, HELD_FRAMES)):
        found = judge(maps, limits(), ahead=ahead)
        assert [index for index, _ in found] == list(range(len(maps)))
        shown = [index for index, judgement in found if judgement.segmentation.findings]
        assert shown == [index for run in long for index in run[skipped:]]
        begun = [i for i, judgement in found if any(track.new for track in judgement.tracks)]
        assert begun == [run[skipped] for run in long]


@given(st.lists(st.floats(0.02, 0.98), min_size=1, max_size=12))
def test_smoothing_mixes_both_sides(levels: list[float]) -> None:
    """On still frames, log-odds are mixed with all before and the next two. Each weighs 0.4 of the
    nearer one, so that equal maps stay as they are."""
    temporal = limits(smoothing=WEIGHT, hold_s=0.0)
    maps: list[Map | None] = [np.full((SIDE, SIDE), level, np.float32) for level in levels]
    odds = np.log(np.array(levels) / (1 - np.array(levels)))
    reach = round(SMOOTHING_S / STEP_S) + 1
    for index, judgement in judge(maps, temporal, ahead=True):
        past = odds[0]
        for value in odds[1 : index + 1]:
            past = WEIGHT * past + (1 - WEIGHT) * value
        window = odds[index : index + reach]
        future = window[-1]
        for value in window[-2::-1]:
            future = WEIGHT * future + (1 - WEIGHT) * value
        mixed = past
        if len(window) > 1:
            mixed = (past + future - (1 - WEIGHT) * odds[index]) / (1 + WEIGHT)
        expected = 1 / (1 + np.exp(-mixed))
        assert judgement.segmentation.probability.mean() == pytest.approx(expected, abs=2e-3)


def test_nothing_is_carried_over_a_frame_that_is_not_judged() -> None:
    """A blurred frame ends smoothing on both sides, and shows no finding."""
    low, high = np.float32(0.1), np.float32(0.9)
    maps: list[Map | None] = [np.full((SIDE, SIDE), low), None, np.full((SIDE, SIDE), high)]
    found = judge(maps, limits(smoothing=WEIGHT, hold_s=0.0), ahead=True)
    first, blurred, last = (judgement for _, judgement in found)
    assert first.segmentation.probability.mean() == pytest.approx(low, abs=1e-4)
    assert last.segmentation.probability.mean() == pytest.approx(high, abs=1e-4)
    assert not blurred.segmentation.mask.any()
    assert blurred.probability is None
