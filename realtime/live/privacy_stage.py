"""Masks patients' data between the display and all that writes or sends frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import FieldFinder
from qlumen.realtime.endoscope.privacy import Privacy
from qlumen.realtime.endoscope.quality import QualityJudge
from qlumen.realtime.frames import Condition, FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.stage import Stage, ThreadedStage
from qlumen.realtime.overlay.status import draw_marks
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sinks.events import Note
from qlumen.system.threads import WRITER_NICENESS

FRAMES = 8
LOOK_SECONDS = 0.2
"""Longest time between two searches for the field."""


class PrivacyStage(ThreadedStage):
    """Masks frames and hands them on to the sinks.

    If it fails, it is detached like any sink, and no sink behind it receives a frame any more.

    It judges each frame itself, because the model skips frames and may be off. A frame that may
    show anything except the inside of a body clears the field: a menu that filled the screen must
    not count as field afterwards. If everything outside the field must be hidden, frames are
    black until a field is found. The state's marks are drawn again over hidden parts.

    Args:
        sinks: receivers of the masked frames, and of no others.
    """

    def __init__(
        self,
        privacy: Privacy,
        settings: Settings,
        sinks: Sequence[Stage],
        latency: LatencyRecorder,
        note: Note,
        *,
        frames: int = FRAMES,
        niceness: int = WRITER_NICENESS,
    ) -> None:
        super().__init__("privacy", frames, latency, note, niceness)
        self._privacy, self._sinks = privacy, sinks
        self._hides_outside = settings.privacy.outside_field
        self._settings = settings.field
        self._field = self._make_finder()
        self._judge = QualityJudge(**settings.quality.model_dump())

    def _handle(self, result: FrameResult) -> None:
        masked = self._mask(result)
        for sink in self._sinks:
            sink.put(masked)

    def _end(self) -> None:
        """Release nothing: the sinks behind this stage end on their own."""

    def _mask(self, result: FrameResult) -> FrameResult:
        """Return the result itself, in its decoded form, where nothing is hidden."""
        frame = result.frame
        field = self._field(frame)
        condition = Condition.CLEAR
        if self._judge.may_be_outside(frame.pixels, field):
            condition = Condition.OUT_OF_BODY
            self._field = self._make_finder()
        unknown = self._hides_outside and not self._field.found
        if not (unknown or self._privacy.hides(field, condition, frame.size)):
            return result

        def hide(image: Image) -> Image:
            return np.zeros_like(image) if unknown else self._privacy(image, field, condition)

        annotated = None
        if result.annotated is not None:
            drawn = hide(result.shown)
            if drawn is not result.shown and result.live is not None:
                draw_marks(drawn, result.live)
            annotated = BgrImage(drawn)
        masked = replace(frame, pixels=BgrImage(hide(frame.image)))
        return replace(result, frame=masked, annotated=annotated)

    def _make_finder(self) -> FieldFinder:
        chosen = self._settings.model_dump()
        return FieldFinder(**chosen | {"every_s": min(LOOK_SECONDS, chosen["every_s"])})
