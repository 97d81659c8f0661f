"""The model's path: from a live frame to what may be shown of it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count

import numpy as np

from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import Field, FieldFinder, crop, placed
from qlumen.realtime.endoscope.quality import QualityJudge
from qlumen.realtime.frames import NO_MAP, Condition, Frame, Segmentation
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.latest import Annotation
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.tracking.motion import (
    CUT_GREY_LEVELS,
    Flow,
    Motion,
    Thumbnail,
    filled,
    mismatch,
)
from qlumen.realtime.tracking.smoothing import Smoother
from qlumen.realtime.tracking.tracks import Tracker, shown
from qlumen.system.closing import Closing

FORGET_SECONDS = 0.5
"""Without a frame for so long, nothing is carried over: the camera may look elsewhere."""


class Annotator(Closing):
    """Judges one frame after the other, skipped ones in between allowed.

    A frame that cannot be judged (see `Condition`) does not reach the network and has no
    findings. The settings are asked for at each frame, so that thresholds may change.

    Args:
        current: the settings in force.
        numbers: of the tracks; goes on when an annotator takes the place of another one.
    """

    def __init__(
        self,
        bundle: Bundle,
        current: Callable[[], Settings],
        latency: LatencyRecorder,
        numbers: Iterator[int],
    ) -> None:
        self._bundle, self._current, self._latency = bundle, current, latency
        self._numbers = numbers
        self._settings = settings = current()
        self._segmenter = Segmenter.open(bundle, settings, live=True)
        self._motion = Motion()
        self._tracker = _tracker(settings, numbers)
        self._last: tuple[float, Thumbnail] | None = None
        self._start(settings)

    @property
    def engine(self) -> dict[str, object]:
        return self._segmenter.engine.describe()

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Run every stage on a black frame of (width, height) pixels and a made-up finding, so
        that no frame pays for compiling and allocating."""
        width, height = frame_size
        black = BgrImage(np.zeros((height, width, 3), np.uint8))
        frame = Frame(0, 0, Fraction(1), black, 0)
        field = self._field(frame)
        self._judge(frame.image, field)
        thumbnail = self._motion.reduce(frame.image)
        flow = self._motion.flow(thumbnail, thumbnail)
        made_up = self._segmenter.warm_up(frame_size)
        for _ in range(2):
            self._smoother(made_up.probability, flow, (0.0, 0.0, 1.0, 1.0))
        tracker = _tracker(self._settings, count(1))
        for flow_or_none in (None, flow):
            shown(tracker.update(made_up.findings, 0.0, flow_or_none, frame_size), made_up)
        placed(made_up, field, frame_size)
        self._start(self._settings)

    def __call__(self, frame: Frame) -> Annotation:
        self._follow_settings()
        clock = _Clock(self._latency)
        field = self._field(frame)
        condition = self._judge(frame.image, field)
        clock.lap("quality")
        thumbnail, flow = self._moved_since(frame)
        clock.lap("motion")
        segmentation = None
        if condition is Condition.CLEAR:
            segmentation = self._segmented(frame, field, flow, clock)
        else:
            self._smoother.reset()
        findings = segmentation.findings if segmentation else ()
        tracks = self._tracker.update(findings, frame.time_s, flow, frame.size)
        seen = shown(tracks, segmentation) if segmentation else empty(frame.size)
        clock.lap("tracks")
        return Annotation(
            frame.index, frame.grabbed_ns, frame.size, thumbnail, seen, tracks, condition
        )

    def close(self) -> None:
        self._segmenter.close()

    def _follow_settings(self) -> None:
        settings = self._current()
        if settings is self._settings:
            return
        self._segmenter = self._segmenter.with_thresholds(self._bundle, settings)
        if settings.temporal != self._settings.temporal:
            self._smoother = Smoother(settings.temporal.smoothing)
            tracker = _tracker(settings, self._numbers)
            tracker.take_over(self._tracker)
            self._tracker = tracker
        self._settings = settings

    def _moved_since(self, frame: Frame) -> tuple[Thumbnail, Flow | None]:
        """The frame's thumbnail, and the motion since the last one: None when that was too long
        ago, or shows another scene, and nothing is carried over."""
        thumbnail = self._motion.reduce(frame.image)
        last, self._last = self._last, (frame.time_s, thumbnail)
        if last and last[1].shape == thumbnail.shape:
            self._elapsed_s = frame.time_s - last[0]
            flow = self._motion.flow(last[1], thumbnail)
            same_scene = mismatch(last[1], thumbnail, flow) < CUT_GREY_LEVELS
            if same_scene and self._elapsed_s <= FORGET_SECONDS:
                return thumbnail, flow
        self._smoother.reset()
        self._tracker.reset()
        return thumbnail, None

    def _start(self, settings: Settings) -> None:
        """Know nothing of earlier frames."""
        self._field = FieldFinder(**settings.field.model_dump())
        self._judge = QualityJudge(**settings.quality.model_dump())
        self._smoother = Smoother(settings.temporal.smoothing)
        self._tracker = _tracker(settings, self._numbers)
        self._last = None
        self._elapsed_s = 0.0

    def _segmented(
        self, frame: Frame, field: Field, flow: Flow | None, clock: "_Clock"
    ) -> Segmentation:
        view = replace(frame, pixels=BgrImage(crop(frame.image, field)), truth=None)
        picture = self._segmenter.preprocess(view.pixels)
        clock.lap("preprocess")
        probability = self._segmenter.engine.infer(picture)
        clock.lap("inference")
        probability = self._smoother(
            probability, flow, _shares(field, frame.size), elapsed_s=self._elapsed_s
        )
        clock.lap("smoothing")
        segmentation = placed(self._segmenter.finish(view, probability), field, frame.size)
        clock.lap("postprocess")
        return segmentation


class _Clock:
    """Reports the time since the lap before."""

    def __init__(self, latency: LatencyRecorder) -> None:
        self._latency, self._since_ns = latency, time.monotonic_ns()

    def lap(self, stage: str) -> None:
        now_ns = time.monotonic_ns()
        self._latency.add(stage, now_ns - self._since_ns)
        self._since_ns = now_ns


def empty(frame_size: tuple[int, int]) -> Segmentation:
    """A segmentation of a frame that was not judged."""
    return Segmentation(filled((), frame_size), (), NO_MAP)


def _tracker(settings: Settings, numbers: Iterator[int]) -> Tracker:
    return Tracker(numbers=numbers, **settings.temporal.model_dump(exclude={"smoothing"}))


def _shares(field: Field, frame_size: tuple[int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = field.box
    width, height = frame_size
    return x0 / width, y0 / height, x1 / width, y1 / height
