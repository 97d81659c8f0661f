"""Steps of other packages change findings and tracks alike, and their faults are named."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError, EngineError
from qlumen.realtime.analysis.steps import AnalysisStep, change_findings, open_steps, take_steps
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import (
    Condition,
    Field,
    Finding,
    Judgement,
    Observation,
    Track,
)
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sinks.events import event
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.tracking.findings import move_segmentation, segment_findings, trace_findings

from support.live_frames import frame as live_frame

SIZE = 96, 64


def found(places: list[tuple[int, int]]) -> list[Finding]:
    """Return squares of 6 px at these places."""
    return [
        one for x, y in places for one in trace_findings(np.ones((6, 6), np.uint8), (x, y), 0.9)
    ]


def judgement(findings: list[Finding], alarms: list[bool] | None) -> Judgement:
    """Return a judgement with tracks, or with findings alone."""
    seen = Observation(SIZE, 0.0, Field((0, 0, *SIZE), None), Condition.CLEAR, True)
    pairs = list(zip(findings, alarms or [], strict=False))
    tracks = tuple(Track(n, one, 0.0, alarm, False) for n, (one, alarm) in enumerate(pairs, 1))
    shown = [one for one, alarm in pairs if alarm] if alarms else findings
    return Judgement(seen, None, segment_findings(shown, SIZE), tracks)


PLACES = st.lists(
    st.tuples(st.integers(0, 8).map(lambda n: 10 * n), st.integers(0, 5).map(lambda n: 10 * n)),
    unique=True, max_size=6,
)  # fmt: skip


@given(PLACES, st.data())
def test_tracks_and_shown_findings_agree(
    places: list[tuple[int, int]], data: st.DataObject
) -> None:
    """What is shown are the kept findings of tracks with alarm, and the mask is theirs."""
    alarms = data.draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places)))
    keep = {place: data.draw(st.booleans()) for place in places}

    def change(finding: Finding, track: Track | None) -> Finding | None:
        return replace(finding, label="x") if keep[finding.box[:2]] else None

    changed = change_findings(judgement(found(places), alarms), change)
    assert [one.finding.box[:2] for one in changed.tracks] == [p for p in places if keep[p]]
    wanted = {p for p, alarm in zip(places, alarms, strict=True) if keep[p] and alarm}
    assert {one.box[:2] for one in changed.segmentation.findings} == wanted
    assert all(one.label == "x" for one in changed.segmentation.findings)
    mask = np.zeros(SIZE[::-1], np.uint8)
    for x, y in wanted:
        mask[y : y + 6, x : x + 6] = 1
    assert np.array_equal(changed.segmentation.mask, mask)


def test_single_images_have_no_track() -> None:
    """Their findings are changed as well."""
    given, tracks = judgement(found([(0, 0), (20, 10)]), None), []

    def change(finding: Finding, track: Track | None) -> Finding | None:
        tracks.append(track)
        return finding if finding.box[0] else None

    left = change_findings(given, change)
    assert [one.box for one in left.segmentation.findings] == [(20, 10, 26, 16)]
    assert tracks == [None, None]


def test_a_label_follows_its_finding_into_all_outputs() -> None:
    """It stays on a moved finding, and is in the events of files and of receivers."""
    (one,) = found([(20, 20)])
    flow = np.full((32, 48, 2), (2.0, 1.0), np.float32)
    moved = move_segmentation(segment_findings([replace(one, label="x")], SIZE), flow)
    assert [(each.box, each.label) for each in moved.findings] == [((24, 22, 30, 28), "x")]
    shown = live_frame(0, {1})
    assert shown.live is not None
    (track,) = shown.live.tracks
    live = replace(shown.live, tracks=(replace(track, finding=replace(one, label="x")),))
    labelled = replace(shown, segmentation=moved, live=live)
    assert [each["label"] for each in LesionEvents().changes(labelled)] == ["x"]
    line = event(labelled.record())
    assert [each["label"] for each in line["findings"]] == ["x"]  # type: ignore[attr-defined]
    assert [each["label"] for each in line["tracks"]] == ["x"]  # type: ignore[attr-defined]
    assert "label" not in LesionEvents().changes(shown)[0]


@given(PLACES, st.text("aWj? 9", max_size=9), st.integers(0, 3))
def test_a_label_is_drawn_within_the_boxes(
    places: list[tuple[int, int]], label: str, width: int
) -> None:
    """On a copy and in patches alike, and nothing is left on the next frame."""
    findings = [replace(one, label=label) for one in found(places)]
    segmentation, overlay = segment_findings(findings, SIZE), Overlay(line_width_px=width)
    image = np.random.default_rng(len(label)).integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8)
    whole = image.copy()
    overlay.draw(whole, segmentation)
    inside = np.zeros(SIZE[::-1], bool)
    for x0, y0, x1, y1 in overlay.boxes(segmentation):
        inside[y0:y1, x0:x1] = True
    assert np.array_equal(whole[~inside], image[~inside])
    assert np.array_equal(overlay.annotate(BgrImage(image), segmentation).bgr(), whole)
    again = image.copy()
    overlay.draw(again, segmentation)
    assert np.array_equal(again, whole)


class Broken(AnalysisStep):
    def __call__(self, judgement: Judgement) -> Judgement:
        raise ZeroDivisionError("a bug")


def test_faults_are_named() -> None:
    """A step that fails, and a step that is not installed."""
    with pytest.raises(EngineError, match=r"the analysis step Broken failed: .*a bug"):
        take_steps([Broken()], judgement([], None))
    with pytest.raises(ConfigError, match=r"analysis\.steps=none: there is no such plugin"):
        open_steps(load_settings(None, ["analysis.steps=[none]"]))
    assert open_steps(load_settings()) == []
