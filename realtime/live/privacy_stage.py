"""Between the display and all that writes or sends pictures: patients' data is masked first."""

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
"""Between two looks for the field, at most."""


class PrivacyStage(ThreadedStage):
    """Masks pictures and hands them on to the sinks. If it fails, it is detached like any
    sink, and none of those behind it receives a picture any more.

    It judges each frame itself: whether the camera is out of the body must not depend on
    the model's path, which skips frames and may be off. A picture that may show anything but
    the inside of a body ends what was known of the field: a menu that filled the screen must not
    count as field afterwards. Where all outside of the field is to be hidden, pictures are
    black until there is one. The state's marks are drawn again over what was hidden.

    Args:
        sinks: receive the masked pictures, and no others.
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
        self._field = self._finder()
        self._judge = QualityJudge(**settings.quality.model_dump())

    def _handle(self, result: FrameResult) -> None:
        masked = self._mask(result)
        for sink in self._sinks:
            sink.put(masked)

    def _end(self) -> None:
        """The sinks behind it end by themselves."""

    def _mask(self, result: FrameResult) -> FrameResult:
        frame = result.frame
        field = self._field(frame)
        condition = Condition.CLEAR
        if self._judge.may_be_outside(frame.pixels, field):
            condition = Condition.OUT_OF_BODY
            self._field = self._finder()
        unknown = self._hides_outside and not self._field.found

        def hidden(image: Image) -> Image:
            return np.zeros_like(image) if unknown else self._privacy(image, field, condition)

        annotated = None
        if result.annotated is not None:
            drawn = hidden(result.shown)
            if drawn is not result.shown and result.live is not None:
                draw_marks(drawn, result.live)
            annotated = BgrImage(drawn)
        masked = replace(frame, pixels=BgrImage(hidden(frame.image)))
        return replace(result, frame=masked, annotated=annotated)

    def _finder(self) -> FieldFinder:
        chosen = self._settings.model_dump()
        return FieldFinder(**chosen | {"every_s": min(LOOK_SECONDS, chosen["every_s"])})
