"""Interprets the frames of a recording with knowledge of the frames that follow.

Smoothing mixes each map with those before and after it. A lesion that lasts for the alarm hold is
shown from its first frame on. Live video has to wait.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.analysis.interpret import Interpreter, share_of_frame
from qlumen.realtime.analysis.observe import Lap
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Judgement, Observation, Track
from qlumen.realtime.segmentation.geometry import Fit
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.tracking.smoothing import (
    FRAME_S,
    Smoother,
    from_log_odds,
    log_odds,
    mix,
)
from qlumen.realtime.tracking.tracks import TIME_SLACK_S, select_alarms

T = TypeVar("T")

LOOK_AHEAD = "look_ahead"
"""The stage in which a frame waits for the frames that follow."""

SMOOTHING_S = 0.08
"""Time that smoothing looks ahead. A longer time changes nothing on real clips."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    """Holds a frame while those that follow it are not known.

    Attributes:
        odds: log-odds of the network's map; None where it was not judged, or nothing is smoothed.
        past: `odds` mixed with those of the frames before.
    """

    item: T
    seen: Observation
    lap: Lap
    probability: Probability | None
    odds: NDArray[np.float32] | None
    past: NDArray[np.float32] | None


class LookAhead:
    """Interprets related frames in their order, each `SMOOTHING_S` and the alarm hold later."""

    def __init__(self, postprocess: Postprocessor, fit: Fit, temporal: TemporalSettings) -> None:
        self._temporal = temporal
        self._smoother = Smoother(temporal.smoothing)
        rest = temporal.model_copy(update={"smoothing": 0.0})
        self._interpreter = Interpreter(postprocess, fit, rest)

    def interpret_all(
        self, frames: Iterable[tuple[T, Observation, Probability | None, Lap]]
    ) -> Iterator[tuple[T, Judgement]]:
        """Interpret frames, each when the frames that affect it are known."""
        return self._hold_all(self._smooth_all(frames))

    def _smooth_all(
        self, frames: Iterable[tuple[T, Observation, Probability | None, Lap]]
    ) -> Iterator[tuple[T, Judgement]]:
        waiting: deque[_Waiting[T]] = deque()
        for item, seen, probability, lap in frames:
            waiting.append(self._smooth_by_past(item, seen, probability, lap))
            while len(waiting) > 1 and _is_known(waiting[0].seen, seen):
                yield self._interpret(waiting)
        while waiting:
            yield self._interpret(waiting)

    def _smooth_by_past(
        self, item: T, seen: Observation, probability: Probability | None, lap: Lap
    ) -> _Waiting[T]:
        if probability is None or seen.flow is None:
            self._smoother.reset()
        if probability is None or not self._temporal.smoothing:
            return _Waiting(item, seen, lap, probability, None, None)
        odds = log_odds(probability)
        past = self._smoother.smooth(odds, seen.flow, share_of_frame(seen), seen.elapsed_s)
        return _Waiting(item, seen, lap, probability, odds, past)

    def _interpret(self, waiting: deque[_Waiting[T]]) -> tuple[T, Judgement]:
        """Take out the first frame, and interpret it by the map that all of them give."""
        smoothed = self._smooth_by_future(waiting)
        first = waiting.popleft()
        first.lap(LOOK_AHEAD)
        judgement = self._interpreter.interpret(first.seen, smoothed, first.lap)
        return first.item, replace(judgement, probability=first.probability)

    def _smooth_by_future(self, waiting: Sequence[_Waiting[T]]) -> Probability | None:
        """Mix the first map with those after it, moved back, and with those before it."""
        first = waiting[0]
        if first.odds is None or first.past is None:
            return first.probability
        chain = [(first.seen, first.odds)]
        for later in list(waiting)[1:]:
            too_far = later.seen.time_s - first.seen.time_s > SMOOTHING_S + TIME_SLACK_S
            if later.odds is None or later.seen.flow is None or too_far:
                break
            chain.append((later.seen, later.odds))
        if len(chain) == 1:
            return from_log_odds(first.past)
        (after, future), weight = chain[-1], 0.0
        for seen, odds in reversed(chain[:-1]):
            assert after.flow is not None
            weight = self._temporal.smoothing ** (after.elapsed_s / FRAME_S)
            here, there = share_of_frame(seen), share_of_frame(after)
            future, after = mix(future, there, odds, here, after.flow, weight), seen
        both = first.past + future - np.float32(1 - weight) * first.odds
        return from_log_odds((both / (1 + weight)).astype(np.float32, copy=False))

    def _hold_all(self, judged: Iterable[tuple[T, Judgement]]) -> Iterator[tuple[T, Judgement]]:
        waiting: deque[tuple[T, Judgement]] = deque()
        shown: dict[int, float] = {}
        hold_s = self._temporal.hold_s + TIME_SLACK_S
        for item, judgement in judged:
            waiting.append((item, judgement))
            shown |= {one.number: one.since_s for one in judgement.tracks if one.new}
            while judgement.seen.time_s - waiting[0][1].seen.time_s > hold_s:
                earlier, own = waiting.popleft()
                yield earlier, _show_early(own, shown)
            if judgement.seen.flow is None:
                while len(waiting) > 1:
                    earlier, own = waiting.popleft()
                    yield earlier, _show_early(own, shown)
        for earlier, own in waiting:
            yield earlier, _show_early(own, shown)


def _is_known(first: Observation, newest: Observation) -> bool:
    """Check whether all frames that smooth the first one have arrived."""
    return newest.flow is None or newest.time_s - first.time_s > SMOOTHING_S + TIME_SLACK_S


def _show_early(judgement: Judgement, shown: dict[int, float]) -> Judgement:
    """Show tracks that get an alarm later from their first frame on.

    Args:
        shown: time when a track with an alarm was first seen, by number.
    """
    tracks = tuple(_begin_early(one, judgement.seen.time_s, shown) for one in judgement.tracks)
    if judgement.probability is None or tracks == judgement.tracks:
        return replace(judgement, tracks=tracks)
    map_ = judgement.segmentation.probability
    return replace(
        judgement, tracks=tracks, segmentation=select_alarms(tracks, judgement.seen.size, map_)
    )


def _begin_early(track: Track, time_s: float, shown: dict[int, float]) -> Track:
    if track.number not in shown:
        return track
    new = time_s == shown[track.number]
    return track if track.alarm and track.new == new else replace(track, alarm=True, new=new)
