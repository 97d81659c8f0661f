"""Runs the stages of a replay in threads, with bounded queues between them and no frame lost.

    source -> [queue] -> analysis: start -> [queue] -> analysis: finish -> overlay
                                                                              |
                                                              [queue] -> sink, one thread each

Every queue makes the stage before it wait. An error in one stage ends the others in order. If the
source fails, the frames that are already decoded are finished and written. Sinks are closed, so
that their files can be read.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from qlumen.errors import QlumenError
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis, Started
from qlumen.realtime.frames import Frame, FrameResult, Judgement
from qlumen.realtime.latency import END_TO_END, QUEUED, LatencyRecorder, milliseconds
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels import planes
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.queues import StageQueue
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.system.threads import start

T = TypeVar("T")

WARM_UP_SIZE_PX = 512
"""Side of the warm-up image where the source's size is unknown."""


@dataclass(slots=True, eq=False)
class _Job:
    """Holds a frame on its way: its decoding time, its arrival and its analysis."""

    frame: Frame
    decode_ns: int
    ready_ns: int
    started: Started | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    """Holds a result on its way to a sink, and the time when it was finished."""

    result: FrameResult
    at_ns: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Describes how a run ended.

    Attributes:
        frames: results that every sink has taken.
        seconds: time from the first frame's request to the last sink's close.
        interrupted: whether `stop` was called.
        error: reason for an early end; None without one.
    """

    frames: int
    seconds: float
    interrupted: bool
    error: QlumenError | None


def warm_up(analysis: FrameAnalysis, overlay: Overlay, info: SourceInfo) -> None:
    """Run every stage at the source's frame size, so that no frame pays for compiling."""
    width, height = info.width or WARM_UP_SIZE_PX, info.height or WARM_UP_SIZE_PX
    planes.warm_up()
    analysis.warm_up((width, height))
    black = BgrImage(np.zeros((height, width, 3), np.uint8))
    overlay.annotate(black, analysis.segmenter.warm_up((width, height)))


class Pipeline:
    """Runs once. The names of `sinks` go into the latency table; all are closed at the end.

    Each stage also reports, under `QUEUED` and its name, how long frames waited for it. The stage
    `inference` lasts from when the engine takes a frame until its map is fetched.
    """

    def __init__(
        self,
        source: Source,
        analysis: FrameAnalysis,
        overlay: Overlay,
        sinks: Sequence[tuple[str, Sink]],
        latency: LatencyRecorder,
        *,
        queue_frames: int = 2,
        on_frame: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._source, self._analysis, self._overlay = source, analysis, overlay
        self._sinks, self._latency, self._on_frame = sinks, latency, on_frame
        self._decoded: StageQueue[_Job] = StageQueue(queue_frames)
        self._in_flight: StageQueue[_Job] = StageQueue(analysis.segmenter.engine.requests)
        self._finished: list[StageQueue[_Finished]] = [StageQueue(queue_frames) for _ in sinks]
        self._draws = any(sink.wants_overlay for _, sink in sinks)
        self._stopping = threading.Event()
        self._interrupted = False
        self._error: QlumenError | None = None
        self._crash: BaseException | None = None
        self._lock = threading.Lock()
        self._written = Counter({name: 0 for name, _ in sinks})

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Stop reading, and finish frames on their way. A signal handler may call it."""
        self._interrupted = True
        self._stopping.set()

    def run(self, limit: int | None = None) -> Outcome:
        """Process at most `limit` frames, close the sinks, and return the outcome.

        The outcome holds an error that qlumen raises on purpose. Any other error propagates.
        """
        started = time.monotonic()
        threads = [
            self._thread("source", partial(self._read, limit)),
            self._thread("engine", self._submit),
        ]
        for (name, sink), queue in zip(self._sinks, self._finished, strict=True):
            threads.append(self._thread(name, partial(self._write, name, sink, queue)))
        finished = self._guard(self._finish) or 0
        for thread in threads:
            thread.join()
        for _, sink in self._sinks:
            self._guard(sink.close)
        if self._crash:
            raise self._crash
        frames = min(self._written.values(), default=finished)
        return Outcome(frames, time.monotonic() - started, self._interrupted, self._error)

    def _read(self, limit: int | None) -> None:
        try:
            self._read_frames(limit)
        except QlumenError as error:
            self._note(error)
        finally:
            self._decoded.close()

    def _read_frames(self, limit: int | None) -> None:
        frames = iter(self._source.frames())
        count = 0
        while not self._stopping.is_set() and count != limit:
            started = time.monotonic_ns()
            frame = next(frames, None)
            if frame is None:
                return
            ready = time.monotonic_ns()
            job = _Job(frame, ready - started, ready)
            self._latency.span("decode", frame.index, started, ready)
            if not self._decoded.put(job):
                return
            count += 1

    def _submit(self) -> None:
        try:
            for job in self._decoded:
                self._report_wait("analysis", job.frame, job.ready_ns, time.monotonic_ns())
                job.started = self._analysis.start(job.frame)
                if not self._in_flight.put(job):
                    job.started.discard()
                    return
        finally:
            self._in_flight.close()

    def _finish(self) -> int:
        done = 0
        try:
            for job, judgement in self._analysis.finish_all(self._jobs_in_flight()):
                finished = _Finished(self._finish_one(job, judgement), time.monotonic_ns())
                if not all(queue.put(finished) for queue in self._finished):
                    break
                done += 1
                self._on_frame(done)
        finally:
            for queue in self._finished:
                queue.close()
        return done

    def _jobs_in_flight(self) -> Iterator[tuple[_Job, Started]]:
        for job in self._in_flight:
            assert job.started is not None
            yield job, job.started

    def _finish_one(self, job: _Job, judgement: Judgement) -> FrameResult:
        frame, started = job.frame, job.started
        assert started is not None
        annotated = None
        started.clock.since_ns = time.monotonic_ns()
        if self._draws:
            annotated = self._overlay.annotate(frame.pixels, judgement.segmentation)
            started.clock.lap("overlay")
        self._latency.span(END_TO_END, frame.index, job.ready_ns, started.clock.since_ns)
        spans = milliseconds({"decode": job.decode_ns} | started.clock.spans_ns)
        return FrameResult(frame, judgement.segmentation, annotated, spans, judgement=judgement)

    def _report_wait(self, stage: str, frame: Frame, begin_ns: int, end_ns: int) -> None:
        self._latency.span(QUEUED + stage, frame.index, begin_ns, end_ns)

    def _write(self, name: str, sink: Sink, queue: "StageQueue[_Finished]") -> None:
        for finished in queue:
            frame, started = finished.result.frame, time.monotonic_ns()
            self._report_wait(name, frame, finished.at_ns, started)
            sink.write(finished.result)
            self._latency.span(name, frame.index, started, time.monotonic_ns())
            self._written[name] += 1

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        return start(name, partial(self._guard, work), daemon=False)

    def _guard(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except QlumenError as error:
            self._note(error)
            self._abort()
        except BaseException as error:  # noqa: BLE001 - carried to the caller of run()
            self._crash = self._crash or error
            self._abort()
        return None

    def _note(self, error: QlumenError) -> None:
        with self._lock:
            self._error = self._error or error

    def _abort(self) -> None:
        self._stopping.set()
        self._decoded.abort()
        for queue in self._finished:
            queue.close()
        for job in self._in_flight.abort():
            if job.started:
                job.started.discard()
