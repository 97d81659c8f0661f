"""Runs what a profile measures: a source without end and warm stages, run after run."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import FrameResult, Segmentation
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.profiling.endless_source import EndlessSource
from qlumen.realtime.profiling.process import native_threads_named
from qlumen.realtime.replay.allocator import keep_freed_memory
from qlumen.realtime.replay.pipeline import Outcome, Pipeline, warm_up
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.base import NullSink, Sink
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.choose import SCENE, open_source
from qlumen.system.closing import Closing

T = TypeVar("T")

SCENE_FRAMES = 100
"""Length of the scene, recorded once and played again and again; settings may shorten it."""


class DrawnSink(NullSink):
    """Asks for the overlay: it is drawn only if a sink wants it."""

    wants_overlay = True


class Rig(Closing):
    """Opens source and engine; each `run` goes on where the last one left the source.

    Frames are judged as in live video, without look-ahead: a profile measures their delay.

    Attributes:
        name: name of the source.
        start_up_s: time by part until all is ready for the first frame.

    Raises:
        QlumenError: the source, the settings or the bundle cannot be used.
    """

    def __init__(self, location: str, settings: Settings, *, record: bool) -> None:
        causal = settings.analysis.model_copy(update={"look_ahead": False})
        self._settings = settings.model_copy(update={"analysis": causal})
        self._record = record
        self.start_up_s: dict[str, float] = {}
        keep_freed_memory()
        self.bundle = read_bundle(bundle_folder(settings))
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="qlumen-"))
            self._folder = Path(folder)
            path = str(self._record_scene()) if location == SCENE else location
            open_again = partial(open_source, path, settings)
            with native_threads_named("decode"):
                self.source = self._time("source", lambda: EndlessSource(open_again))
            stack.enter_context(self.source)
            self.name = SCENE if location == SCENE else self.source.info.name
            with native_threads_named("engine"):
                self.segmenter = self._time("engine", lambda: Segmenter.open(self.bundle, settings))
            stack.callback(self.segmenter.close)
            self._overlay = Overlay(**settings.overlay.model_dump())
            analysis = FrameAnalysis(self.segmenter, settings, related=self.source.info.sequence)
            with native_threads_named("opencv"):
                self._time("warm_up", lambda: warm_up(analysis, self._overlay, self.source.info))
            self._closing = stack.pop_all()

    def run(
        self,
        latency: LatencyRecorder,
        frames: int,
        *,
        fps: float | None = None,
        on_frame: Callable[[int], None] = lambda done: None,
        until_ns: int | None = None,
    ) -> Outcome:
        """Process this number of frames, or stop after `until_ns`. Without `fps` at full speed.

        Raises:
            QlumenError: the error that ended the run early.
        """

        def count(done: int) -> None:
            on_frame(done)
            if until_ns is not None and time.monotonic_ns() > until_ns:
                pipeline.stop()

        self.source.pace(fps)
        queue_frames = self._settings.pipeline.queue_frames
        analysis = FrameAnalysis(
            self.segmenter, self._settings, related=self.source.info.sequence, latency=latency
        )
        pipeline = Pipeline(
            self.source, analysis, self._overlay, self._sinks(), latency,
            queue_frames=queue_frames, on_frame=count,
        )  # fmt: skip
        outcome = pipeline.run(frames)
        if outcome.error:
            raise outcome.error
        return outcome

    def close(self) -> None:
        self._closing.close()

    def _sinks(self) -> list[tuple[str, Sink]]:
        if not self._record:
            return [("drawn", DrawnSink())]
        encoding = self._settings.recorder.model_dump(include={"crf", "preset", "threads"})
        path = self._folder / "recording.mp4"
        return [("recorder", Recorder(path, self.source.info, **encoding))]

    def _record_scene(self) -> Path:
        """Record the scene: a profile shows the cost of decoding, not of rendering."""
        section = self._settings.scene
        shorter = section.model_copy(update={"frames": min(SCENE_FRAMES, section.frames)})
        path = self._folder / "scene.mp4"
        with open_source(SCENE, self._settings.model_copy(update={"scene": shorter})) as scene:
            size = (section.height, section.width)
            nothing = Segmentation(np.zeros(size, np.uint8), (), np.zeros((1, 1), np.float32))
            with Recorder(path, scene.info) as recorder:
                for frame in scene.frames():
                    recorder.write(FrameResult(frame, nothing))
        return path

    def _time(self, part: str, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        result = work()
        self.start_up_s[part] = round(time.monotonic() - begun, 3)
        return result
