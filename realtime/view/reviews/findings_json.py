"""Converts the findings of a recording to JSON for the page."""

from typing import Any

from qlumen.realtime.report.facts import LOOKS, clock
from qlumen.realtime.review.findings import Findings, ReviewedTrack, share_of_field
from qlumen.realtime.review.review import Review

TIME_DIGITS, SCORE_DIGITS, SHARE_DIGITS = 3, 3, 4


def findings_json(review: Review, findings: Findings, version: int) -> dict[str, Any]:
    """Convert a recording's findings to plain JSON types.

    `times_s`, `scores` (the highest, 0 without a finding) and `conditions` have an entry for each
    frame. `looks` has the label and the colour of each condition by its name.
    """
    best = [max((one.score for one in found), default=0.0) for found in findings.frames]
    return {
        "version": version,
        "name": review.manifest.source.name,
        "sequence": review.manifest.source.sequence,
        "high": findings.thresholds.high,
        "low": findings.thresholds.low,
        "times_s": [round(record.time_s, TIME_DIGITS) for record in review.frames],
        "names": [record.name for record in review.frames if record.name],
        "scores": [round(score, SCORE_DIGITS) for score in best],
        "conditions": [record.condition for record in review.frames],
        "looks": {one: {"label": one.label, "colour": look.on_dark} for one, look in LOOKS.items()},
        "tracks": [_track(review, track) for track in findings.tracks],
        "brief": findings.brief,
    }


def _track(review: Review, track: ReviewedTrack) -> dict[str, Any]:
    record, finding = review.frames[track.best.place], track.best.finding
    return {
        "number": track.number,
        "places": [one.place for one in track.sightings],
        "best": track.best.place,
        "time": clock(record.time_s),
        "score": round(finding.score, SCORE_DIGITS),
        "area_px": finding.area_px,
        "share_of_field": round(share_of_field(finding, record), SHARE_DIGITS),
    }
