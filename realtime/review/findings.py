"""Finds the lesions of a review at any thresholds, from the stored maps alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.analysis.look_ahead import LookAhead
from qlumen.realtime.analysis.observe import Lap, ignore_laps
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Finding, Judgement, Observation, Track
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.review.records import StoredFrame
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.tracking.findings import fill_findings


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Holds a lesion's finding in one frame and the frame's place in the review."""

    place: int
    finding: Finding


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedTrack:
    """Describes one lesion over time; in stills, which have no time, one finding.

    Attributes:
        number: number from 1 in the order of appearance; lesions without an alarm also count.
        sightings: sightings in order of time; never empty.
        best: sighting with the largest score x area.
    """

    number: int
    sightings: tuple[Sighting, ...]
    best: Sighting


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Holds the findings and lesions of a review at certain thresholds.

    Attributes:
        frames: findings shown in each frame, largest first, as in a replay.
        followed: lesions followed in each frame, with and without an alarm.
        tracks: lesions that lasted as long as the alarm hold asks.
        brief: number of lesions that lasted less long.
    """

    thresholds: Thresholds
    frames: tuple[tuple[Finding, ...], ...]
    followed: tuple[tuple[Track, ...], ...]
    tracks: tuple[ReviewedTrack, ...]
    brief: int

    def mask(self, place: int, size: tuple[int, int]) -> Mask:
        """Fill the findings of a frame of (width, height): `(H, W) uint8` of 0 and 1."""
        return fill_findings(self.frames[place], size)

    def lesion_numbers(self) -> dict[int, int]:
        """Map the `id` of each finding to its lesion's number.

        Tracks hold the same finding objects as `frames`, also the ones that were moved along.
        """
        followed = {id(one.finding): one.number for frame in self.followed for one in frame}
        seen = {id(one.finding): track.number for track in self.tracks for one in track.sightings}
        return followed | seen


def find(
    review: Review,
    thresholds: Thresholds | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
    stop: threading.Event | None = None,
) -> Findings:
    """Find lesions and follow them, at `thresholds` or at those of the review.

    The result is that of a replay, and of live video that leaves out no frame. `stop` ends the
    search early; the result then holds the frames before.

    Raises:
        ConfigError: the low threshold is above the high one.
        ReviewError: the review is damaged.
    """
    wanted = thresholds or review.manifest.thresholds
    postprocess = Postprocessor(**wanted.model_dump())
    frames: list[tuple[Finding, ...]] = []
    followed: list[tuple[Track, ...]] = []
    sightings: dict[int, list[Sighting]] = {}
    alarmed: set[int] = set()
    for place, judgement in _make_interpreter(review, postprocess).interpret_all(_read(review)):
        if stop is not None and stop.is_set():
            break
        tracks = judgement.tracks if review.is_sequence else _number(judgement, len(sightings))
        frames.append(judgement.segmentation.findings)
        followed.append(judgement.tracks)
        for track in tracks:
            if track.seen:
                sightings.setdefault(track.number, []).append(Sighting(place, track.finding))
            if track.alarm:
                alarmed.add(track.number)
        on_frame(place + 1)
    lesions = tuple(_track(number, sightings[number]) for number in sorted(alarmed))
    brief = len(sightings) - len(alarmed)
    return Findings(wanted, tuple(frames), tuple(followed), lesions, brief)


def _make_interpreter(review: Review, postprocess: Postprocessor) -> Interpreter | LookAhead:
    settings, fit = review.settings, review.manifest.fit
    if not review.is_sequence:
        return Interpreter(postprocess, fit, None)
    kind = LookAhead if settings.analysis.look_ahead else Interpreter
    return kind(postprocess, fit, settings.temporal)


def _read(review: Review) -> Iterator[tuple[int, Observation, Probability | None, Lap]]:
    for place in range(len(review.frames)):
        yield place, review.observation(place), review.probability(place), ignore_laps


def _number(judgement: Judgement, before: int) -> tuple[Track, ...]:
    """Make a track of each finding in an image that is not related to others."""
    found = judgement.segmentation.findings
    return tuple(Track(before + i, one, 0.0, True, True) for i, one in enumerate(found, start=1))


def _track(number: int, sightings: Sequence[Sighting]) -> ReviewedTrack:
    best = max(sightings, key=lambda one: one.finding.score * one.finding.area_px)
    return ReviewedTrack(number, tuple(sightings), best)


def share_of_field(finding: Finding, record: StoredFrame) -> float:
    """Return the finding's area as a share of the endoscope's visible field, at most 1."""
    return min(1.0, finding.area_px / max(1, record.field_px))
