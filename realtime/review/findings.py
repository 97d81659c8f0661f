"""Findings and tracks of a review at any thresholds, made from the stored maps alone."""

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
    """A lesion in one frame: the frame's place in the review, and what was found there."""

    place: int
    finding: Finding


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedTrack:
    """One lesion over time. In stills, which have no time: one finding.

    Attributes:
        number: from 1, in the order of appearance; those that got no alarm have one, too.
        sightings: in order of time; never empty.
        best: that with the largest score x area.
    """

    number: int
    sightings: tuple[Sighting, ...]
    best: Sighting


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Attributes:
    thresholds: that they were made with.
    frames: the findings that are shown of each frame, largest first, as in a replay.
    followed: the lesions followed in each frame, with and without an alarm.
    tracks: lesions that held for as long as the alarm hold asks.
    brief: followed for less long, and so no track.
    """

    thresholds: Thresholds
    frames: tuple[tuple[Finding, ...], ...]
    followed: tuple[tuple[Track, ...], ...]
    tracks: tuple[ReviewedTrack, ...]
    brief: int

    def mask(self, place: int, size: tuple[int, int]) -> Mask:
        """The findings of a frame of (width, height): `(H, W) uint8` of 0 and 1."""
        return fill_findings(self.frames[place], size)

    def lesion_numbers(self) -> dict[int, int]:
        """Map the `id` of each finding to its lesion's number: a track holds the very objects
        that stand in `frames`, those that were moved along included."""
        followed = {id(one.finding): one.number for frame in self.followed for one in frame}
        seen = {id(one.finding): track.number for track in self.tracks for one in track.sightings}
        return followed | seen


def find(
    review: Review,
    thresholds: Thresholds | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
    stop: threading.Event | None = None,
) -> Findings:
    """Find lesions and follow them, at `thresholds`, or those the review was made with.

    Frames, findings and tracks are those of a replay, and of live video that leaves no frame
    out. `stop` ends it early, with what was found so far.

    Raises:
        ConfigError: low above high.
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
        tracks = judgement.tracks if review.related else _number(judgement, len(sightings))
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
    if not review.related:
        return Interpreter(postprocess, fit, None)
    kind = LookAhead if settings.analysis.look_ahead else Interpreter
    return kind(postprocess, fit, settings.temporal)


def _read(review: Review) -> Iterator[tuple[int, Observation, Probability | None, Lap]]:
    for place in range(len(review.frames)):
        yield place, review.observation(place), review.probability(place), ignore_laps


def _number(judgement: Judgement, before: int) -> tuple[Track, ...]:
    """Make each finding of an image that is not related to others a track of its own."""
    found = judgement.segmentation.findings
    return tuple(Track(before + i, one, 0.0, True, True) for i, one in enumerate(found, start=1))


def _track(number: int, sightings: Sequence[Sighting]) -> ReviewedTrack:
    best = max(sightings, key=lambda one: one.finding.score * one.finding.area_px)
    return ReviewedTrack(number, tuple(sightings), best)


def share_of_field(finding: Finding, record: StoredFrame) -> float:
    """The finding's area over that of the endoscope's visible field, at most 1."""
    return min(1.0, finding.area_px / max(1, record.field_px))
