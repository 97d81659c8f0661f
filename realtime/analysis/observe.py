"""Observes what a frame shows before the network judges it: field, condition and motion."""

from collections.abc import Callable

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import FieldFinder, whole_field
from qlumen.realtime.endoscope.quality import QualityJudge
from qlumen.realtime.frames import Condition, Frame, Observation
from qlumen.realtime.tracking.motion import (
    CUT_GREY_LEVELS,
    Flow,
    Motion,
    Thumbnail,
    mismatch,
    reduce_flow,
)

Lap = Callable[[str], None]

FORGET_S = 0.5
"""After this time without a frame nothing is carried over: the camera may look elsewhere."""


def ignore_laps(stage: str) -> None:
    """Do nothing at the end of a stage."""


class Observer:
    """Observes frames in their order. Frames may be left out. It belongs to one thread.

    Args:
        related: whether the frames follow each other in time. If not, each frame has a field of
            its own, and all frames are judged.
    """

    def __init__(self, settings: Settings, *, related: bool) -> None:
        self._settings, self._related = settings, related
        self._motion = Motion()
        self._last: tuple[float, Thumbnail] | None = None
        self._field, self._judge = self._make_field(), self._make_judge()

    def observe(self, frame: Frame, lap: Lap = ignore_laps) -> Observation:
        """Observe the next frame. Call `lap` with the name of each stage when it ends."""
        if not self._related:
            self._field, self._judge = self._make_field(), self._make_judge()
        field = self._field(frame) if self._settings.analysis.field else whole_field(frame.size)
        condition = self._judge(frame.pixels, field)
        if not self._related:
            thumbnail = self._motion.reduce(frame.pixels)
            lap("quality")
            return Observation(
                frame.size, frame.time_s, field, condition, judged=True, thumbnail=thumbnail
            )
        lap("quality")
        clear = condition is Condition.CLEAR
        thumbnail, flow, elapsed_s = self._follow(frame)
        lap("motion")
        return Observation(
            frame.size, frame.time_s, field, condition, clear, flow, elapsed_s, thumbnail
        )

    def _follow(self, frame: Frame) -> tuple[Thumbnail, Flow | None, float]:
        """Return thumbnail, motion and seconds since the last frame.

        The motion is None when that frame was too long ago, or shows another scene.
        """
        thumbnail = self._motion.reduce(frame.pixels)
        last, self._last = self._last, (frame.time_s, thumbnail)
        if last is None or last[1].shape != thumbnail.shape:
            return thumbnail, None, 0.0
        elapsed_s = frame.time_s - last[0]
        if not 0 <= elapsed_s <= FORGET_S:
            return thumbnail, None, 0.0
        flow = self._motion.flow(last[1], thumbnail)
        if mismatch(last[1], thumbnail, flow) >= CUT_GREY_LEVELS:
            return thumbnail, None, 0.0
        return thumbnail, reduce_flow(flow), elapsed_s

    def _make_field(self) -> FieldFinder:
        return FieldFinder(**self._settings.field.model_dump())

    def _make_judge(self) -> QualityJudge:
        quality = self._settings.quality.model_dump()
        return QualityJudge(**(quality if self._related else quality | {"hold_frames": 1}))
