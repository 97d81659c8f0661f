"""Goes through recordings and live video, frame by frame."""

import os
from collections.abc import Iterator
from contextlib import nullcontext

from rich.console import Console

from qlumen.errors import SourceError
from qlumen.model import Model, load
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sources.base import Source
from qlumen.realtime.sources.choose import open_source
from qlumen.result import Result
from qlumen.system.closing import Closing
from qlumen.system.threads import MODEL_NICENESS, start

WAIT_S = 0.1
JOIN_S = 30.0


def replay(source: str | os.PathLike[str], model: Model | None = None) -> Iterator[Result]:
    """Judge a recording and yield its frames in order, as `qlumen replay` does.

    A lesion is shown from its first frame on, so frames come a moment after they were read. Close
    the iterator to end early.

    Args:
        source: video file, folder of images, address, or `scene` for the built-in colon.
        model: network and settings; None: those of `load()`, closed at the end.

    Raises:
        QlumenError: the source cannot be read; raised at once. Or it ends too early; raised after
            its last frame.
    """
    used = model or load()
    try:
        opened = open_source(os.fspath(source), used.settings)
    except BaseException:
        if model is None:
            used.close()
        raise
    return _judge_all(opened, used, closes=model is None)


def _judge_all(source: Source, model: Model, *, closes: bool) -> Iterator[Result]:
    with source, model if closes else nullcontext():
        analysis = FrameAnalysis(model.segmenter, model.settings, related=source.info.sequence)
        fit = model.segmenter.preprocess.fit
        for frame, judgement in analysis.judge_all(source.frames()):
            yield Result.of(frame, judgement, fit)


def live(source: str | os.PathLike[str], model: Model | None = None) -> "LiveVideo":
    """Open a camera, a stream, or a file that plays at its own rate, as `qlumen live` does.

    Args:
        source: device, address, file, `scene` or `pattern`.
        model: bundle and settings; None: those of `load()`. The session opens the network again,
            because it starts it anew when it hangs.

    Raises:
        QlumenError: the source or a setting cannot be used.
    """
    return LiveVideo(os.fspath(source), model.settings if model else load_settings())


class LiveVideo(Closing):
    """Iterates over the frames of live video, each with the findings of that moment.

    The video does not wait: while one frame is handled others pass, and the newest comes next.
    The iteration ends with the source; if the session failed it raises the error.

    Attributes:
        dropped: frames of the source before the one in hand that were not iterated over, and
            at the source's end those after the last one as well.
    """

    def __init__(self, source: str, settings: Settings) -> None:
        self._sink = _NewestFrame()
        self.dropped = 0
        self._next_index = 0
        self._failure: BaseException | None = None
        self._start_s: float | None = None
        self._session = LiveSession(
            source, LiveOutputs(), settings, Console(stderr=True), runners=(self._open_runner,)
        )
        self._thread = start("api", self._run)

    def __iter__(self) -> Iterator[Result]:
        while not self._sink.frames.ended:
            if (shown := self._sink.frames.get(WAIT_S)) is not None:
                self._count_dropped(shown.frame.index)
                self._next_index = shown.frame.index + 1
                yield self._result(shown)
        self._count_dropped(self._session.status().arrived)
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """End the session."""
        self._session.stop()
        self._thread.join(JOIN_S)
        self._session.close()

    def _open_runner(self, latency: LatencyRecorder, note: Note) -> SinkRunner:
        return SinkRunner("api", lambda: self._sink, latency, note, frames=1,
                          niceness=MODEL_NICENESS)  # fmt: skip

    def _run(self) -> None:
        try:
            error = self._session.run().error
            if error:
                self._failure = SourceError(str(error))
        except BaseException as failure:  # noqa: BLE001 - raised where the frames are read
            self._failure = failure
        finally:
            self._sink.close()

    def _count_dropped(self, index: int) -> None:
        """Count the frames from the next one to before `index`, wherever they were lost."""
        self.dropped += max(0, index - self._next_index)

    def _result(self, shown: FrameResult) -> Result:
        frame, state = shown.frame, shown.live
        assert state is not None
        if self._start_s is None:
            self._start_s = frame.time_s
        return Result(
            shown.segmentation.findings,
            shown.segmentation.mask,
            state.tracks,
            state.condition,
            frame.index,
            frame.time_s - self._start_s,
            frame.name,
            frame.pixels,
        )


class _NewestFrame(Sink):
    """Keeps the newest frame until it is taken."""

    def __init__(self) -> None:
        self.frames: DroppingQueue[FrameResult] = DroppingQueue()

    def write(self, result: FrameResult) -> None:
        self.frames.put(result)

    def close(self) -> None:
        self.frames.close()
