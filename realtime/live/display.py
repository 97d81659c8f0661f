"""The raw path: each frame goes out at once, with what is known by then drawn on it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import (
    NO_MAP,
    AiState,
    Condition,
    Finding,
    Frame,
    FrameResult,
    LiveState,
    Segmentation,
)
from qlumen.realtime.latency import LatencyRecorder, milliseconds
from qlumen.realtime.live.annotator import empty
from qlumen.realtime.live.control import Control
from qlumen.realtime.live.latest import Annotation, Board
from qlumen.realtime.live.threads import raise_priority
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.overlay.status import draw_marks
from qlumen.realtime.pixels import planes
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.tracking.motion import CUT_GREY_LEVELS, Motion, filled, mismatch, moved
from qlumen.system.closing import Closing

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Display(Closing):
    """Draws frames; to be used by one thread. While it moves findings, another one copies
    the picture.

    Args:
        board: where the model's annotations are found.
        ai_runs: whether the model is there at all.
        recording: whether a recording is being written.
        note: writes an event: kind and fields.
        on_alarm: called with the number of a track whose alarm is new.
    """

    def __init__(
        self,
        board: Board,
        control: Control,
        latency: LatencyRecorder,
        *,
        ai_runs: Callable[[], bool],
        recording: Callable[[], bool],
        on_alarm: Callable[[int], None],
        note: Callable[..., None],
    ) -> None:
        self._board, self._control, self._latency = board, control, latency
        self._ai_runs, self._recording, self._on_alarm = ai_runs, recording, on_alarm
        self._note = note
        self._failed = False
        self._settings = control.settings()
        self._overlay = _overlay(self._settings)
        self._motion = Motion()
        self._beside = ThreadPoolExecutor(1, "qlumen-copier", initializer=raise_priority)
        self._alarmed: set[int] = set()
        self._flash_until_ns = 0

    def close(self) -> None:
        self._beside.shutdown()

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Compile and allocate everything by drawing a made-up finding."""
        width, height = frame_size
        x, y = width // 2, height // 2
        made_up = Finding((x, y, x + 1, y + 1), 1.0, 1, np.array([[x, y]], np.int32))
        black = BgrImage(np.zeros((height, width, 3), np.uint8)).bgr()
        planes.warm_up()
        thumbnail = self._motion.reduce(black)
        still = self._motion.flow(thumbnail, thumbnail)
        mask = filled([made_up], frame_size)
        mismatch(thumbnail, thumbnail, still)
        self._overlay(black, moved(Segmentation(mask, (made_up,), NO_MAP), still))
        self._beside.submit(self._overlay.copied, black).result()

    def show(self, frame: Frame, *, signal: bool = True) -> FrameResult:
        """As `draw`; if that fails, the frame as it is: the video must go on."""
        try:
            result = self.draw(frame, signal=signal)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told once
            if not self._failed:
                self._note("display_failed", reason=f"{type(error).__name__}: {error}")
            self._failed = True
            state = LiveState(
                AiState.OFF, None, None, Condition.CLEAR, (), self._recording(), signal
            )
            return FrameResult(frame, _nothing(frame.size), frame.pixels, {}, state)
        self._failed = False
        return result

    def draw(self, frame: Frame, *, signal: bool = True) -> FrameResult:
        """The frame with findings and marks. Without `signal`, the last frame once more."""
        started_ns = time.monotonic_ns()
        settings = self._follow_settings()
        annotation = self._annotation(frame, settings) if signal else None
        waited_ns = time.monotonic_ns()
        state = self._state(frame, annotation, settings, signal)
        shown = annotation if self._control.overlay_visible else None
        drawn, segmentation = self._copied_and_moved(frame, shown)
        moved_ns = time.monotonic_ns()
        self._overlay.draw(drawn, segmentation)
        draw_marks(drawn, state, flash=self._flashes(annotation, settings))
        spans = {
            "wait": waited_ns - started_ns,
            "move": moved_ns - waited_ns,
            "draw": time.monotonic_ns() - moved_ns,
        }
        for stage, span_ns in spans.items():
            self._latency.add(stage, span_ns)
        return FrameResult(frame, segmentation, BgrImage(drawn), milliseconds(spans), state)

    def _follow_settings(self) -> Settings:
        settings = self._control.settings()
        if settings.overlay != self._settings.overlay:
            self._overlay = _overlay(settings)
        self._settings = settings
        return settings

    def _annotation(self, frame: Frame, settings: Settings) -> Annotation | None:
        """The newest one that may be shown on this frame."""
        live = settings.live
        wait_s = live.wait_ms / 1000 if live.mode == "synchronous" and self._ai_runs() else 0.0
        annotation = self._board.at(frame.index, wait_s)
        if annotation is None or not annotation.fits(frame) or not self._ai_runs():
            return None
        return annotation if _age_ms(annotation) <= live.max_age_ms else None

    def _state(
        self, frame: Frame, annotation: Annotation | None, settings: Settings, signal: bool
    ) -> LiveState:
        ai = AiState.OFF if not self._ai_runs() else AiState.ON if annotation else AiState.LATE
        return LiveState(
            ai,
            annotation.frame_index if annotation else None,
            _age_ms(annotation) if annotation else None,
            annotation.condition if annotation else Condition.CLEAR,
            annotation.tracks if annotation else (),
            self._recording(),
            signal,
            self._control.overlay_visible,
        )

    def _copied_and_moved(
        self, frame: Frame, annotation: Annotation | None
    ) -> tuple[Image, Segmentation]:
        """A picture to draw on, and the findings where they are now."""
        if annotation is None:
            return self._overlay.copied(frame.image), _nothing(frame.size)
        still = annotation.segmentation
        if not still.findings or annotation.frame_index == frame.index:
            return self._overlay.copied(frame.image), still
        copied = self._beside.submit(self._overlay.copied, frame.image)
        segmentation = self._moved(annotation, frame)
        return copied.result(), segmentation

    def _moved(self, annotation: Annotation, frame: Frame) -> Segmentation:
        """None on another scene."""
        thumbnail = self._motion.reduce(frame.image)
        flow = self._motion.flow(annotation.thumbnail, thumbnail)
        if mismatch(annotation.thumbnail, thumbnail, flow) >= CUT_GREY_LEVELS:
            return _nothing(frame.size)
        return moved(annotation.segmentation, flow)

    def _flashes(self, annotation: Annotation | None, settings: Settings) -> bool:
        now_ns = time.monotonic_ns()
        visible = annotation is not None and self._control.overlay_visible
        for track in annotation.tracks if annotation and visible else ():
            if track.alarm and track.number not in self._alarmed:
                self._alarmed.add(track.number)
                self._flash_until_ns = now_ns + round(settings.alarm.flash_s * NS_PER_S)
                self._on_alarm(track.number)
        return now_ns < self._flash_until_ns


def _overlay(settings: Settings) -> Overlay:
    return Overlay(**settings.overlay.model_dump())


def _age_ms(annotation: Annotation) -> float:
    return (time.monotonic_ns() - annotation.grabbed_ns) / NS_PER_MS


@lru_cache(maxsize=2)
def _nothing(frame_size: tuple[int, int]) -> Segmentation:
    segmentation = empty(frame_size)
    segmentation.mask.flags.writeable = False
    return segmentation
