"""Findings and tracks of a review at any thresholds, made from the stored maps alone."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.frames import Condition, Finding
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.review.records import FrameRecord
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.tracking.motion import filled
from qlumen.realtime.tracking.tracks import Tracker


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A lesion in one frame: the frame's place in the review, and what was found there."""

    place: int
    finding: Finding


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedTrack:
    """One lesion over time. In stills, which have no time: one finding.

    Attributes:
        number: from 1 without gaps, in the order of appearance.
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
    frames: the findings of each frame, largest first, as a replay finds them.
    tracks: lesions that held for as long as the alarm hold asks.
    brief: followed for less long, and so no track.
    """

    thresholds: Thresholds
    frames: tuple[tuple[Finding, ...], ...]
    tracks: tuple[ReviewedTrack, ...]
    brief: int

    def mask(self, place: int, size: tuple[int, int]) -> Mask:
        """The findings of a frame of (width, height): `(H, W) uint8` of 0 and 1."""
        return filled(self.frames[place], size)


def find(
    review: Review,
    thresholds: Thresholds | None = None,
    on_frame: Callable[[int], None] = lambda done: None,
    stop: threading.Event | None = None,
) -> Findings:
    """Find lesions and follow them, at `thresholds`, or those the review was made with.

    Each frame's findings are those of the post-processing on the stored map, without
    smoothing, as in a replay. Tracks are made as in live video, with its alarm hold, of the
    findings on frames that can be judged. `stop` ends it early, with what was found so far.

    Raises:
        ConfigError: low above high.
        ReviewError: the review is damaged.
    """
    wanted = thresholds or review.manifest.thresholds
    postprocess = Postprocessor(**wanted.model_dump())
    follower = _Follower(review)
    frames = []
    for place in range(len(review.frames)):
        if stop is not None and stop.is_set():
            break
        findings = postprocess(review.probability(place), review.geometry(place)).findings
        follower.take(place, findings)
        frames.append(findings)
        on_frame(place + 1)
    return Findings(wanted, tuple(frames), *follower.tracks())


class _Follower:
    """Collects what belongs together."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._sequence = review.manifest.source.sequence
        settings = review.settings.temporal.model_dump(exclude={"smoothing"})
        self._tracker = Tracker(**settings)
        self._sightings: dict[int, list[Sighting]] = {}
        self._alarmed: set[int] = set()

    def take(self, place: int, findings: Sequence[Finding]) -> None:
        record = self._review.frames[place]
        if not self._sequence:
            self._take_still(place, findings)
            return
        flow = self._review.flow(place)
        if place and flow is None:
            self._tracker.reset()
        judged = findings if record.condition is Condition.CLEAR else ()
        for track in self._tracker.update(judged, record.time_s, flow, record.size):
            if any(track.finding is one for one in judged):
                self._sightings.setdefault(track.number, []).append(Sighting(place, track.finding))
            if track.alarm:
                self._alarmed.add(track.number)

    def tracks(self) -> tuple[tuple[ReviewedTrack, ...], int]:
        """Those with an alarm, and how many had none."""
        shown = [self._sightings[number] for number in sorted(self._alarmed)]
        numbered = (_track(number, found) for number, found in enumerate(shown, start=1))
        return tuple(numbered), len(self._sightings) - len(shown)

    def _take_still(self, place: int, findings: Sequence[Finding]) -> None:
        for finding in findings:
            number = len(self._sightings) + 1
            self._sightings[number] = [Sighting(place, finding)]
            self._alarmed.add(number)


def _track(number: int, sightings: Sequence[Sighting]) -> ReviewedTrack:
    best = max(sightings, key=lambda one: one.finding.score * one.finding.area_px)
    return ReviewedTrack(number, tuple(sightings), best)


def share_of_field(finding: Finding, record: FrameRecord) -> float:
    """The finding's area over that of the endoscope's visible field, at most 1."""
    return min(1.0, finding.area_px / max(1, record.field_px))
