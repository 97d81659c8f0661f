"""Tests the tracks of findings that come, move, cross and go."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.frames import Finding, Segmentation, Track
from qlumen.realtime.pixels.arrays import Box
from qlumen.realtime.tracking.tracks import (
    FORBIDDEN,
    STALL_S,
    Tracker,
    assign,
    pair_costs,
    select_alarms,
)

from support import naive_flow

SIZE = (200, 150)
FRAME_S = 0.04
SLACK_S = 0.002
HERE, ELSEWHERE = (20, 20, 40, 40), (120, 80, 150, 110)
STILL = np.zeros((15, 20, 2), np.float32)


def finding(box: Box, score: float = 0.9) -> Finding:
    """Make a filled rectangle."""
    x0, y0, x1, y1 = box
    corners = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]
    return Finding(box, score, (x1 - x0) * (y1 - y0), np.array(corners, np.int32))


def play(tracker: Tracker, seen: str, box: Box = HERE, start: int = 0) -> list[tuple[Track, ...]]:
    """Play a frame for each letter: `x` has a finding at `box`, `.` has not, `-` is not judged."""
    results = []
    for index, letter in enumerate(seen, start):
        if letter != "-":
            findings = [finding(box)] if letter == "x" else []
            results.append(tracker.update(findings, index * FRAME_S, STILL, SIZE))
    return results


def story(results: Sequence[tuple[Track, ...]]) -> str:
    """Write `_` for nothing, `?` for a track without alarm, `N` for a new alarm, `A` for alarm."""
    marks = {(False, False): "?", (True, True): "N", (True, False): "A"}
    return "".join(marks[one[0].alarm, one[0].new] if one else "_" for one in results)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("xxxxxxxx", "??????NA"),  # six frames withheld, the seventh is shown
        ("xxxxxx..", "??????__"),  # a run of six never is
        ("xxx.xxxxxxx", "???_??????N"),  # a miss before the alarm starts a new track
        ("xxxxxxxx.....x", "??????NAAAA__?"),  # released after three; then another track
        ("xxxxxxxx...xxx", "??????NAAAAAAA"),  # bridged
        ("x-----xx", "?NA"),  # skipped frames do not count as missed
        ("x--x.-x--x--x", "??_??N"),  # a miss is one judged frame without a finding
    ],
)
def test_hold_and_release_worked_by_hand(seen: str, expected: str) -> None:
    """Results at 25/s, a hold of 0.24 s, a release of 0.12 s and no gap are those by hand."""
    tracker = Tracker(hold_s=0.24, release_s=0.12, gap_s=0.0, remember_s=0.0)
    assert story(play(tracker, seen)) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("xxx.....x", "??NA____A"),  # remembered for five frames without a finding
        ("xxx......x", "??NA_____?"),  # not for six
        ("x.....x", "?_____?"),  # and only after an alarm
    ],
)
def test_a_lesion_at_its_place_again_is_the_same(seen: str, expected: str) -> None:
    """A remembered lesion is shown from its first finding on, and its alarm is not new."""
    tracker = Tracker(hold_s=0.08, release_s=0.04, remember_s=0.2)
    results = play(tracker, seen)
    assert story(results) == expected
    assert results[-1][0].number == (1 if expected[-1] == "A" else 2)


def test_a_lesion_that_left_the_frame_comes_back() -> None:
    """It is looked for where it left, is not shown meanwhile, and has its number again."""
    tracker = Tracker(hold_s=0.0, release_s=1.0, remember_s=1.0)
    left = np.broadcast_to(np.float32([-60, 0]), STILL.shape)
    assert [one.number for one in tracker.update([finding(HERE)], 0.0, STILL, SIZE)] == [1]
    assert tracker.update([], 0.04, left, SIZE) == ()
    assert tracker.update([], 0.08, left, SIZE) == ()
    (back,) = tracker.update([finding((0, 22, 15, 40))], 0.12, -left, SIZE)
    assert (back.number, back.alarm, back.new) == (1, True, False)


@pytest.mark.parametrize(("seen", "expected"), [("xx.xxxxx", "??????NA"), ("xx..xxxx", "???_????")])
def test_a_gap_before_the_alarm_is_bridged_if_asked(seen: str, expected: str) -> None:
    """With a gap of one frame, one miss keeps the track's age, and two end it."""
    tracker = Tracker(hold_s=0.24, release_s=0.12, gap_s=0.04)
    assert story(play(tracker, seen)) == expected


def test_alarm_begins_on_a_frame_with_the_finding() -> None:
    """A track whose hold ends while it is not seen waits for its next finding."""
    tracker = Tracker(hold_s=0.08, release_s=0.2, gap_s=0.2)
    assert story(play(tracker, "xx..x")) == "????N"


def test_a_lesion_over_the_edge_of_a_stall_is_another() -> None:
    """After more than STALL_S without a judged frame, no track continues."""
    tracker = Tracker(hold_s=0.24)
    first = tracker.update([finding(HERE)], 0.0, STILL, SIZE)
    second = tracker.update([finding(HERE)], STALL_S + 0.1, STILL, SIZE)
    assert (first[0].number, second[0].number) == (1, 2)


def test_time_that_runs_back_ends_all_tracks() -> None:
    """When a file starts again, numbers go on, and holds start again."""
    tracker = Tracker(hold_s=0.08)
    assert story(play(tracker, "xxx", start=10)) == "??N"
    assert story(play(tracker, "xxx")) == "??N"
    assert play(tracker, "x", start=3)[0][0].number == 2


def test_reset_ends_all_tracks_and_keeps_counting() -> None:
    """A number names one lesion of a run, also after a reset."""
    tracker = Tracker()
    play(tracker, "xxx")
    tracker.reset()
    assert [track.number for track in play(tracker, "x", start=3)[0]] == [2]


def test_another_frame_size_ends_all_tracks() -> None:
    """Places of the old size mean nothing in the new one."""
    tracker = Tracker(hold_s=0.0, release_s=10.0)
    play(tracker, "x")
    assert tracker.update([], FRAME_S, None, (30, 30)) == ()


def test_tracks_follow_the_motion() -> None:
    """Lesions that move with the image to each other's places keep their numbers. Without the flow
    they are confused."""
    left, right = (20, 20, 40, 40), (60, 20, 80, 40)
    further = (100, 20, 120, 40)
    flow = np.full((15, 20, 2), (4.0, 0.0), np.float32)  # 40 px of the frame to the right
    for motion, expected in ((flow, {1: right, 2: further}), (None, {1: further, 2: right})):
        tracker = Tracker()
        tracker.update([finding(left), finding(right)], 0.0, None, SIZE)
        tracks = tracker.update([finding(further), finding(right)], FRAME_S, motion, SIZE)
        if motion is not None:
            assert {track.number: track.finding.box for track in tracks} == expected
        else:
            assert {track.finding.box: track.number for track in tracks}[right] == 2


def test_an_unseen_alarm_is_carried_along() -> None:
    """The last finding of an unseen alarm moves with the image, and leaves with it."""
    tracker = Tracker(hold_s=0.0, release_s=10.0)
    flow = np.full((15, 20, 2), (2.0, 1.0), np.float32)  # 20 px right, 10 px down
    tracker.update([finding(HERE)], 0.0, flow, SIZE)
    (track,) = tracker.update([], FRAME_S, flow, SIZE)
    assert track.finding.box == (40, 30, 60, 50)
    assert track.alarm
    assert not track.new
    for index in range(2, 9):
        tracks = tracker.update([], index * FRAME_S, flow, SIZE)
    assert [track.finding.box for track in tracks] == [(180, 100, 200, 120)]
    assert tracker.update([], 9 * FRAME_S, flow, SIZE) == ()


def test_a_far_finding_is_another_lesion() -> None:
    """A finding without overlap, far away, starts a track of its own."""
    tracker = Tracker()
    play(tracker, "xxx")
    tracks = tracker.update([finding(ELSEWHERE)], 3 * FRAME_S, STILL, SIZE)
    assert [(track.number, track.finding.box) for track in tracks] == [(2, ELSEWHERE)]


def test_only_alarms_are_shown() -> None:
    """Mask and findings hold the tracks with alarm, and the map is passed on."""
    tracks = [
        Track(1, finding(HERE), 0.0, True, False),
        Track(2, finding((90, 10, 95, 12)), 0.0, False, False),
        Track(3, finding(ELSEWHERE), 0.0, True, True),
    ]
    empty = Segmentation(np.zeros(SIZE[::-1], np.uint8), (), np.zeros((2, 2), np.float32))
    drawn = select_alarms(tracks, SIZE, empty.probability)
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[20:40, 20:40] = expected[80:110, 120:150] = 1
    np.testing.assert_array_equal(drawn.mask, expected)
    assert [one.box for one in drawn.findings] == [ELSEWHERE, HERE]
    assert drawn.probability is empty.probability


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.integers(0, 180)), draw(st.integers(0, 130))
    return x, y, x + draw(st.integers(1, 20)), y + draw(st.integers(1, 20))


Frames = list[tuple[float, list[Box]]]
FRAMES = st.lists(
    st.tuples(st.sampled_from([0.02, 0.04, 0.12, 0.7]), st.lists(boxes(), max_size=4, unique=True)),
    max_size=12,
)
LIMITS = st.fixed_dictionaries(
    {
        "hold_s": st.sampled_from([0.0, 0.08, 0.24]),
        "release_s": st.sampled_from([0.0, 0.1, 0.3]),
        "gap_s": st.sampled_from([0.0, 0.05]),
        "remember_s": st.sampled_from([0.0, 0.2]),
    }
)


def run(frames: Frames, limits: dict[str, float], flip: bool = False) -> list[tuple[Track, ...]]:
    """Track frames, each given as a step of time in seconds and its boxes."""
    tracker, time_s, results = Tracker(**limits), 0.0, []
    for step, found in frames:
        time_s += step
        order = found[::-1] if flip else found
        results.append(tracker.update([finding(box) for box in order], time_s, STILL, SIZE))
    return results


@settings(max_examples=150, deadline=None)
@given(FRAMES, LIMITS)
def test_rules_hold_for_any_findings(frames: Frames, limits: dict[str, float]) -> None:
    """Numbers are unique and ascending, and come back only after an alarm, while remembered. Each
    finding is in one track. No alarm comes before the hold. `new` is set once, with the alarm's
    first frame, and an alarm lasts as long as its track."""
    time_s, alarms, gone, last, seen_s = 0.0, set(), set(), set(), {}
    remembered_s = max(limits["remember_s"], limits["release_s"]) + SLACK_S
    for (step, found), tracks in zip(frames, run(frames, limits), strict=True):
        time_s += step
        numbers = [track.number for track in tracks]
        assert numbers == sorted(set(numbers))
        for number in gone & set(numbers):
            assert number in alarms
            assert time_s - step - seen_s[number] <= remembered_s
        seen_s |= {track.number: time_s for track in tracks if track.seen}
        assert set(found) <= {track.finding.box for track in tracks}
        for track in tracks:
            assert track.new == (track.alarm and track.number not in alarms)
            assert track.alarm or track.number not in alarms
            assert not track.new or time_s - track.since_s >= limits["hold_s"] - SLACK_S
            if track.alarm:
                alarms.add(track.number)
        gone = (gone | last) - set(numbers)
        last = set(numbers)


@settings(max_examples=150, deadline=None)
@given(FRAMES, LIMITS)
def test_unseen_tracks_do_not_outlast_their_limits(
    frames: Frames, limits: dict[str, float]
) -> None:
    """Each track is seen in this frame, or was seen within its limit."""
    time_s, seen = 0.0, {}
    for (step, found), tracks in zip(frames, run(frames, limits), strict=True):
        time_s += step
        for track in tracks:
            if track.finding.box in found:
                seen[track.number] = time_s
            limit = limits["release_s" if track.alarm else "gap_s"]
            assert time_s - seen[track.number] <= limit + SLACK_S


@settings(max_examples=100, deadline=None)
@given(FRAMES, LIMITS)
def test_order_of_findings_does_not_matter(frames: Frames, limits: dict[str, float]) -> None:
    """Findings in reverse order give the same tracks."""

    def facts(results: list[tuple[Track, ...]]) -> list[list[tuple[object, ...]]]:
        return [[(t.number, t.finding.box, t.since_s, t.alarm, t.new) for t in tracks]
                for tracks in results]  # fmt: skip

    assert facts(run(frames, limits)) == facts(run(frames, limits, flip=True))


@settings(max_examples=150, deadline=None)
@given(st.lists(boxes(), max_size=4), st.lists(boxes(), max_size=4))
def test_assignment_is_the_best_of_all(before: list[Box], now: list[Box]) -> None:
    """The pairs are as many as possible, at the least cost that trying all orders finds."""
    costs = pair_costs(before, now, 0.1, 0.5)
    pairs = assign(costs)
    assert len(set(pairs.values())) == len(pairs)
    total = sum(costs[row, column] for row, column in pairs.items())
    best, least = naive_flow.cheapest_pairs(costs, FORBIDDEN)
    assert len(pairs) == best
    assert total == pytest.approx(least)


def fill(box: Box) -> NDArray[np.bool_]:
    mask = np.zeros((160, 210), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(boxes(), boxes())
def test_cost_of_overlap_is_that_of_the_pixels(before: Box, now: Box) -> None:
    """The cost is 1 - IoU counted on masks, or 1 and the distance, or forbidden."""
    a, b = fill(before), fill(now)
    iou = (a & b).sum() / (a | b).sum()
    middles = [np.array([x0 + x1, y0 + y1]) / 2 for x0, y0, x1, y1 in (before, now)]
    diagonals = [np.hypot(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (before, now)]
    distance = np.linalg.norm(middles[0] - middles[1]) / np.mean(diagonals)
    far = 1 + distance if distance <= 0.5 else FORBIDDEN
    expected = 1 - iou if iou >= 0.1 else far
    assert pair_costs([before], [now], 0.1, 0.5)[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("limits", [{"hold_s": -1}, {"min_overlap": 0}, {"max_distance": -0.1}])
def test_bad_limits_are_refused(limits: dict[str, float]) -> None:
    """The error names the bad value."""
    with pytest.raises(ConfigError, match=f"{next(iter(limits))} {next(iter(limits.values()))}"):
        Tracker(**limits)


def test_defaults_are_those_of_the_settings() -> None:
    """A tracker without arguments equals one with the default settings."""
    limits = TemporalSettings().model_dump(exclude={"smoothing"})
    numbers = count(1)
    assert Tracker(numbers=numbers, **limits).__dict__ == Tracker(numbers=numbers).__dict__


def test_numbers_go_on_in_a_tracker_that_follows_another() -> None:
    """Two trackers that share their numbers use no number twice."""
    numbers = count(1)
    first, second = Tracker(numbers=numbers), Tracker(numbers=numbers)
    found = [finding(HERE)]
    used = [one.update(found, 0.0, None, SIZE)[0].number for one in (first, second)]
    assert used == [1, 2]
