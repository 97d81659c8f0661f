"""Draws each live frame immediately, with the findings that are known by then."""

import time
from functools import lru_cache
from typing import Protocol

import numpy as np

from qlumen.errors import describe
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import (
    AiState,
    Condition,
    Finding,
    Frame,
    FrameResult,
    LiveState,
    Segmentation,
)
from qlumen.realtime.latency import NS_PER_MS, LatencyRecorder, milliseconds
from qlumen.realtime.live.alarm import Alarms
from qlumen.realtime.live.annotator import Annotation, LatestAnnotations
from qlumen.realtime.live.control import Control
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.overlay.status import make_marks
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.tracking.findings import move_segmentation, segment_findings
from qlumen.realtime.tracking.motion import CUT_GREY_LEVELS, Motion, mismatch


class StatusFacts(Protocol):
    """Reports the facts of the session that the corners of the frame show."""

    @property
    def ai_runs(self) -> bool: ...

    @property
    def recording(self) -> bool: ...


class Display:
    """Draws frames in one thread, as patches: it neither copies nor converts the image.

    Args:
        facts: source of the session's facts, read at each frame.
        alarms: announcer of the alarms of the tracks that are shown.
    """

    def __init__(
        self,
        annotations: LatestAnnotations,
        control: Control,
        latency: LatencyRecorder,
        facts: StatusFacts,
        alarms: Alarms,
        note: Note,
    ) -> None:
        self._annotations, self._control, self._latency = annotations, control, latency
        self._facts, self._alarms, self._note = facts, alarms, note
        self._failed = False
        self._settings = control.settings()
        self._overlay = _overlay(self._settings)
        self._motion = Motion()

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Compile all that moves and draws findings. Another thread may show frames meanwhile."""
        width, height = frame_size
        x, y = width // 2, height // 2
        made_up = Finding((x, y, x + 1, y + 1), 1.0, 1, np.array([[x, y]], np.int32))
        black = BgrImage(np.zeros((height, width, 3), np.uint8))
        motion, overlay = Motion(), _overlay(self._settings)
        thumbnail = motion.reduce(black)
        still = motion.flow(thumbnail, thumbnail)
        mismatch(thumbnail, thumbnail, still)
        overlay.annotate(black, move_segmentation(segment_findings([made_up], frame_size), still))

    def show(self, frame: Frame, *, signal: bool = True) -> FrameResult:
        """Draw the frame. If that fails, return it as it is, because the video must go on."""
        try:
            result = self.draw(frame, signal=signal)
        except Exception as error:  # noqa: BLE001 - any error becomes one event
            if not self._failed:
                self._note("display_failed", reason=describe(error))
            self._failed = True
            state = LiveState(
                AiState.OFF, None, None, Condition.CLEAR, (), self._facts.recording, signal
            )
            return FrameResult(frame, _nothing(frame.size), frame.pixels, {}, state)
        self._failed = False
        return result

    def draw(self, frame: Frame, *, signal: bool = True) -> FrameResult:
        """Draw findings and marks. Without `signal` the frame is the last one, shown again."""
        started_ns = time.monotonic_ns()
        settings = self._follow_settings()
        annotation = self._annotation(frame, settings) if signal else None
        waited_ns = time.monotonic_ns()
        state = self._state(frame, annotation, settings, signal)
        shown = annotation if self._control.overlay_visible else None
        segmentation = self._place(shown, frame)
        moved_ns = time.monotonic_ns()
        announced = state.tracks if self._control.overlay_visible else ()
        flash = self._alarms(announced, settings.alarm)
        marks = make_marks(frame.size, state, flash=flash and shown is not None)
        annotated = self._overlay.annotate(frame.pixels, segmentation, marks)
        spans = {
            "wait": waited_ns - started_ns,
            "move": moved_ns - waited_ns,
            "draw": time.monotonic_ns() - moved_ns,
        }
        for stage, span_ns in spans.items():
            self._latency.add(stage, span_ns)
        return FrameResult(frame, segmentation, annotated, milliseconds(spans), state)

    def _follow_settings(self) -> Settings:
        settings = self._control.settings()
        if settings.overlay != self._settings.overlay:
            self._overlay = _overlay(settings)
        self._settings = settings
        return settings

    def _annotation(self, frame: Frame, settings: Settings) -> Annotation | None:
        """Return the newest annotation that may be shown on this frame."""
        live = settings.live
        wait_s = live.wait_ms / 1000 if live.mode == "synchronous" and self._facts.ai_runs else 0.0
        annotation = self._annotations.at(frame.index, wait_s)
        if annotation is None or not annotation.fits(frame) or not self._facts.ai_runs:
            return None
        return annotation if _age_ms(annotation) <= live.max_age_ms else None

    def _state(
        self, frame: Frame, annotation: Annotation | None, settings: Settings, signal: bool
    ) -> LiveState:
        ai = AiState.OFF if not self._facts.ai_runs else AiState.ON if annotation else AiState.LATE
        return LiveState(
            ai,
            annotation.frame_index if annotation else None,
            _age_ms(annotation) if annotation else None,
            annotation.judgement.seen.condition if annotation else Condition.CLEAR,
            annotation.judgement.tracks if annotation else (),
            self._facts.recording,
            signal,
            self._control.overlay_visible,
            frame.held_ns / NS_PER_MS,
        )

    def _place(self, annotation: Annotation | None, frame: Frame) -> Segmentation:
        """Return the findings where they are now."""
        if annotation is None:
            return _nothing(frame.size)
        still = annotation.judgement.segmentation
        if not (still.findings or still.others) or annotation.frame_index == frame.index:
            return still
        return self._move(annotation, frame)

    def _move(self, annotation: Annotation, frame: Frame) -> Segmentation:
        """Return the findings moved to this frame, or no findings on another scene."""
        thumbnail = self._motion.reduce(frame.pixels)
        earlier = annotation.judgement.seen.thumbnail
        if earlier is None:
            return _nothing(frame.size)
        flow = self._motion.flow(earlier, thumbnail)
        if mismatch(earlier, thumbnail, flow) >= CUT_GREY_LEVELS:
            return _nothing(frame.size)
        return move_segmentation(annotation.judgement.segmentation, flow)


def _overlay(settings: Settings) -> Overlay:
    return Overlay(**settings.overlay.model_dump())


def _age_ms(annotation: Annotation) -> float:
    return (time.monotonic_ns() - annotation.grabbed_ns) / NS_PER_MS


@lru_cache(maxsize=2)
def _nothing(frame_size: tuple[int, int]) -> Segmentation:
    segmentation = segment_findings((), frame_size)
    segmentation.mask.flags.writeable = False
    return segmentation
