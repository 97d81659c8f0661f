"""Tests that only markers and plates are drawn on a live frame, and no old findings."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import whole_field
from qlumen.realtime.frames import (
    NO_MAP,
    AiState,
    Condition,
    Finding,
    Frame,
    FrameResult,
    Judgement,
    Observation,
    Segmentation,
    Track,
)
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.alarm import Alarms
from qlumen.realtime.live.annotator import Annotation, LatestAnnotations
from qlumen.realtime.live.control import Control
from qlumen.realtime.live.display import Display
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.overlay.status import draw_marks
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.tracking.motion import Motion


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Return frames of the scene with a polyp in view, 40 ms apart."""
    scene = SceneSource(SceneSettings(width=320, height=240, seed=1))
    found = next(i for i in range(0, 250, 5) if polyp_px(scene.frame(i)) > 400)
    now_ns = time.monotonic_ns
    return [replace(scene.frame(found + i), index=i, grabbed_ns=now_ns()) for i in range(4)]


def polyp_px(frame: Frame) -> int:
    return 0 if frame.truth is None else int(frame.truth.sum())


def change_live(**changes: object) -> Settings:
    live = Settings().live.model_copy(update=changes)
    return Settings().model_copy(update={"live": live})


class Setup:
    """Holds a display and what it needs, without any thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.alarms: list[int] = []
        self.ai_runs = self.recording = True
        self.latest = LatestAnnotations()
        bundle = read_bundle(find_bundle())
        settings = settings or change_live(max_age_ms=2000.0)  # the machine may be slow
        self.control = Control(bundle, settings, self.note)
        self.display = Display(
            self.latest, self.control, LatencyRecorder(), self, Alarms(self.note), self.note
        )

    def note(self, kind: str, **fields: Any) -> None:
        if kind == "alarm":
            self.alarms.append(fields["track"])


def annotate(frame: Frame, *, age_s: float = 0.0) -> Annotation:
    """Return an annotation that finds the true polyps of a frame."""
    assert frame.truth is not None
    pieces, _ = cv2.findContours(frame.truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    findings = []
    for piece in pieces:
        x, y, w, h = cv2.boundingRect(piece)
        contour = piece.reshape(-1, 2).astype(np.int32)
        findings.append(Finding((x, y, x + w, y + h), 0.9, int(frame.truth.sum()), contour))
    mask = np.zeros_like(frame.truth)
    cv2.fillPoly(mask, [finding.contour for finding in findings], 1)
    tracks = tuple(
        Track(number, finding, 0.0, alarm=True, new=False)
        for number, finding in enumerate(findings, 1)
    )
    thumbnail = Motion().reduce(frame.pixels)
    field, clear = whole_field(frame.size), Condition.CLEAR
    seen = Observation(frame.size, frame.time_s, field, clear, True, thumbnail=thumbnail)
    segmentation = Segmentation(mask, tuple(findings), NO_MAP)
    grabbed_ns = time.monotonic_ns() - round(age_s * 1e9)
    return Annotation(frame.index, grabbed_ns, Judgement(seen, None, segmentation, tracks))


def test_no_pixel_outside_of_markers_and_plates_is_changed(frames: list[Frame]) -> None:
    """All other pixels keep their bits, with moved findings, a flash, the recording's mark and an
    age."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0]))
    for frame in frames[1:]:
        result = setup.display.draw(frame)
        assert result.live is not None
        assert result.segmentation.findings
        allowed = Overlay().marker_mask(result.segmentation) > 0
        for x0, y0, x1, y1 in draw_marks(frame.image.copy(), result.live, flash=True):
            allowed[y0:y1, x0:x1] = True
        assert np.array_equal(result.shown[~allowed], frame.image[~allowed])
        assert not np.array_equal(result.shown, frame.image)
        assert 0.05 < allowed.mean() < 0.9


def test_findings_on_their_own_frame_are_not_moved(frames: list[Frame]) -> None:
    """The annotation's own frame shows its mask as it is."""
    setup = Setup()
    annotation = annotate(frames[0])
    setup.latest.publish(annotation)
    assert setup.display.draw(frames[0]).segmentation is annotation.judgement.segmentation


def test_old_findings_are_not_shown_and_the_state_says_late(frames: list[Frame]) -> None:
    """Beyond the limit of age the frame is shown without findings."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0], age_s=3.0))
    result = setup.display.draw(frames[1])
    assert result.live is not None
    assert result.segmentation.findings == ()
    assert result.live.ai is AiState.LATE
    assert result.live.annotated_frame is None


Change = Callable[[Setup, Frame], Frame]


def change_size(setup: Setup, frame: Frame) -> Frame:
    return replace(frame, pixels=BgrImage(frame.image[:200].copy()))


def stop_ai(setup: Setup, frame: Frame) -> Frame:
    setup.ai_runs = False
    return frame


def hide_overlay(setup: Setup, frame: Frame) -> Frame:
    setup.control.toggle_overlay()
    return frame


def clear(setup: Setup, frame: Frame) -> Frame:
    setup.latest.clear()
    return frame


def cut(setup: Setup, frame: Frame) -> Frame:
    return replace(frame, pixels=BgrImage(np.random.default_rng(0).permutation(frame.image)))


@pytest.mark.parametrize("change", [change_size, stop_ai, hide_overlay, clear, cut])
def test_findings_that_do_not_belong_to_the_frame_are_not_shown(
    frames: list[Frame], change: Change
) -> None:
    """No finding is shown after a change of size, a lost signal or a cut to another scene, and with
    the AI or the overlay off."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0]))
    assert setup.display.draw(frames[1]).segmentation.findings
    assert setup.display.draw(change(setup, frames[2])).segmentation.findings == ()


def test_an_alarm_is_announced_once_for_each_track(frames: list[Frame]) -> None:
    """Several frames that show one track announce its alarm once."""
    setup = Setup()
    annotation = annotate(frames[0])
    setup.latest.publish(annotation)
    for frame in frames:
        setup.display.draw(frame)
    assert setup.alarms == [track.number for track in annotation.judgement.tracks]


def test_no_alarm_border_without_findings(frames: list[Frame]) -> None:
    """The border of a new alarm ends with the findings that it belongs to, when the AI is late."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0]))
    assert has_border(setup.display.draw(frames[0]), frames[0])
    setup.latest.publish(annotate(frames[0], age_s=3.0))
    assert not has_border(setup.display.draw(frames[1]), frames[1])


def has_border(result: FrameResult, frame: Frame) -> bool:
    return not np.array_equal(result.shown[-1], frame.image[-1])


def test_without_a_signal_the_last_frame_says_so(frames: list[Frame]) -> None:
    """The last frame has no findings then, and other pixels than the source's."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0]))
    result = setup.display.draw(frames[1], signal=False)
    assert result.live is not None
    assert not result.live.signal
    assert result.segmentation.findings == ()
    assert not np.array_equal(result.shown, frames[1].image)


def test_a_new_style_is_used_immediately(frames: list[Frame]) -> None:
    """Reloaded settings change the next frame."""
    setup = Setup()
    setup.latest.publish(annotate(frames[0]))
    before = setup.display.draw(frames[0]).shown
    red = Settings().overlay.model_copy(update={"line_bgr": (0, 0, 255)})
    setup.control.reload(lambda: Settings().model_copy(update={"overlay": red}))
    assert not np.array_equal(setup.display.draw(frames[0]).shown, before)


def test_synchronous_mode_waits_for_the_frames_own_findings(frames: list[Frame]) -> None:
    """Findings that another thread publishes 50 ms later are on their own frame, not moved."""
    setup = Setup(change_live(mode="synchronous", wait_ms=1000.0, max_age_ms=2000.0))
    annotation = annotate(frames[2])
    threading.Timer(0.05, setup.latest.publish, [annotation]).start()
    assert setup.display.draw(frames[2]).segmentation is annotation.judgement.segmentation


def test_synchronous_mode_goes_on_without_findings_after_its_wait(frames: list[Frame]) -> None:
    """A model that does not answer delays the video by the bound, and not forever."""
    setup = Setup(change_live(mode="synchronous", wait_ms=30.0))
    result = setup.display.draw(frames[0])
    assert result.live is not None
    assert result.live.ai is AiState.LATE
