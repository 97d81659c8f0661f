"""Describes the lesions of a review for a report."""

from collections.abc import Iterator

from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.report.facts import Row, TimeSpan, TrackFacts, clock, percent
from qlumen.realtime.review.drawing import draw_jpeg
from qlumen.realtime.review.findings import Findings, ReviewedTrack, Sighting, share_of_field
from qlumen.realtime.review.review import Review

FILL_ALPHA = 0.06
LINE_PER_HEIGHT = 1 / 140
"""Width of an outline; images are small on paper."""
ASSUMED_STEP_S = 0.04
GAP_STEPS = 1.5
"""Frames of a track that are further apart belong to two spans."""


def most_seen(findings: Findings, most: int) -> list[ReviewedTrack]:
    """Return the tracks that are seen in most frames, in the order of appearance."""
    ranked = sorted(findings.tracks, key=lambda one: (-len(one.sightings), one.number))[:most]
    return sorted(ranked, key=lambda one: one.number)


def mean_step_s(review: Review) -> float:
    """Return the mean time between two frames in seconds."""
    frames = review.frames
    steps = len(frames) - 1
    length_s = frames[-1].time_s - frames[0].time_s
    return length_s / steps if steps and length_s > 0 else ASSUMED_STEP_S


def track_facts(review: Review, track: ReviewedTrack, step_s: float) -> TrackFacts:
    """Collect the facts of one lesion; `step_s` is the time between two frames in seconds."""
    frames, best = review.frames, track.best
    times = [frames[one.place].time_s for one in track.sightings]
    sequence = review.manifest.source.sequence
    title = f"Lesion {track.number}" if sequence else f"Finding {track.number}"
    return TrackFacts(
        number=track.number,
        spans=tuple(_spans(times, step_s)),
        scores=tuple((t, one.finding.score) for t, one in zip(times, track.sightings, strict=True)),
        best_s=frames[best.place].time_s,
        title=title,
        rows=tuple(_track_rows(review, track, times, step_s)),
        image=_draw_outline(review, best),
    )


def _draw_outline(review: Review, best: Sighting) -> bytes:
    """Draw the finding's outline on its frame as JPEG, with a wider line than on a screen."""
    style = review.settings.overlay.model_dump() | {"fill_alpha": FILL_ALPHA}
    if not style["line_width_px"]:
        height = min(review.frames[best.place].height, review.settings.review.picture_px)
        style["line_width_px"] = max(1, round(height * LINE_PER_HEIGHT))
    return draw_jpeg(review, best.place, [best.finding], Overlay(**style))


def _track_rows(
    review: Review, track: ReviewedTrack, times: list[float], step_s: float
) -> Iterator[Row]:
    record, finding = review.frames[track.best.place], track.best.finding
    x0, y0, x1, y1 = finding.box
    scores = [one.finding.score for one in track.sightings]
    if review.manifest.source.sequence:
        yield "Seen", f"{clock(times[0])} to {clock(times[-1] + step_s)}"
        yield "Frames", f"{len(times)} ({len(times) * step_s:.1f} s)"
        yield "Best frame", f"{record.index} at {clock(record.time_s)}"
    elif record.name:
        yield "Image", record.name
    yield "Size", f"{x1 - x0} x {y1 - y0} px, area {finding.area_px:,} px"
    yield "Share", f"{percent(share_of_field(finding, record))} of the visible field"
    yield "Score", f"{finding.score:.3f}"
    if len(scores) > 1:
        yield "Score, all frames", f"{min(scores):.3f} to {max(scores):.3f}"


def _spans(times: list[float], step_s: float) -> Iterator[TimeSpan]:
    start_s = last_s = times[0]
    for time_s in times[1:]:
        if time_s - last_s > GAP_STEPS * step_s:
            yield TimeSpan(start_s, last_s + step_s)
            start_s = time_s
        last_s = time_s
    yield TimeSpan(start_s, last_s + step_s)
