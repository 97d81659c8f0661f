"""Tests faults in the middle of a run: everything ends, nothing hangs, finished frames are kept."""

import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from qlumen.errors import QlumenError, SinkError, TruncatedError
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.replay.pipeline import Pipeline
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.system.threads import running_threads


class RandomSource(Source):
    """Delivers random frames, and raises `error` after the last."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.info = SourceInfo("random", 48, 32, Fraction(25), count)
        self.drops: Counter[str] = Counter()
        self.count, self.error = count, error

    def frames(self) -> Iterator[Frame]:
        image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
        for index in range(self.count):
            yield Frame(index, index, Fraction(1, 25), BgrImage(image), time.monotonic_ns())
        if self.error:
            raise self.error


class MemorySink(Sink):
    """Remembers indices; raises `error` in place of frame `fails_at`."""

    def __init__(self, fails_at: int = -1, error: BaseException | None = None) -> None:
        self.indices: list[int] = []
        self.fails_at, self.error = fails_at, error
        self.closed = False

    def write(self, result: FrameResult) -> None:
        if self.error and result.frame.index == self.fails_at:
            raise self.error
        self.indices.append(result.frame.index)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Segmenter]:
    segmenter = Segmenter.open(read_bundle(find_bundle()), Settings())
    yield segmenter
    segmenter.close()


def make(segmenter: Segmenter, source: Source, *sinks: Sink) -> Pipeline:
    named = [(f"sink{i}", sink) for i, sink in enumerate(sinks)]
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    return Pipeline(source, analysis, Overlay(), named, LatencyRecorder())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Check that all threads of a run have ended."""
    before = set(running_threads())
    yield
    assert set(running_threads()) <= before


def test_every_sink_receives_every_frame_in_order(segmenter: Segmenter) -> None:
    """Two sinks get the same frames, each frame once."""
    a, b = MemorySink(), MemorySink()
    outcome = make(segmenter, RandomSource(40), a, b).run()
    assert outcome.frames == 40
    assert outcome.error is None
    assert a.indices == b.indices == list(range(40))
    assert a.closed
    assert b.closed


def test_source_that_ends_early_is_finished_first(segmenter: Segmenter) -> None:
    """Frames decoded before the error reach the sinks; the error is in the outcome."""
    kept = MemorySink()
    outcome = make(segmenter, RandomSource(7, TruncatedError("7 of 9")), kept).run()
    assert kept.indices == list(range(7))
    assert outcome.frames == 7
    assert str(outcome.error) == "7 of 9"
    assert kept.closed


def test_failing_sink_ends_the_run_and_spares_the_other(segmenter: Segmenter) -> None:
    """A full disk stops the replay; the other sink keeps a gapless beginning and is closed."""
    bad, good = MemorySink(5, SinkError("disk full")), MemorySink()
    outcome = make(segmenter, RandomSource(500), bad, good).run()
    assert str(outcome.error) == "disk full"
    assert outcome.frames == 5
    assert bad.indices == list(range(5))
    assert good.indices == list(range(len(good.indices)))
    assert 5 <= len(good.indices) < 500
    assert bad.closed
    assert good.closed


@pytest.mark.parametrize("place", ["source", "sink"])
def test_unexpected_error_reaches_the_caller(segmenter: Segmenter, place: str) -> None:
    """A bug is not swallowed: run() raises it, after everything has been closed."""
    error = ZeroDivisionError("a bug")
    kept = MemorySink(3, error if place == "sink" else None)
    source = RandomSource(3 if place == "source" else 100, error if place == "source" else None)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        make(segmenter, source, kept).run()
    assert kept.closed


def test_failing_postprocessing_frees_the_engine(segmenter: Segmenter) -> None:
    """After a failed run the same engine serves the next one: no request is lost."""
    for _ in range(3):
        pipeline = make(segmenter, RandomSource(50), MemorySink(2, QlumenError("no")))
        pipeline.run()
    kept = MemorySink()
    assert make(segmenter, RandomSource(10), kept).run().frames == 10


def test_stop_finishes_frames_on_their_way(segmenter: Segmenter) -> None:
    """After stop() no new frame is read, and frames that were read are delivered."""
    kept = MemorySink()
    named = [("kept", kept)]
    pipeline = Pipeline(
        RandomSource(10_000), FrameAnalysis(segmenter, Settings(), related=False), Overlay(), named,
        LatencyRecorder(),
        on_frame=lambda done: pipeline.stop() if done == 10 else None,
    )  # fmt: skip
    outcome = pipeline.run()
    assert outcome.interrupted
    assert 10 <= outcome.frames < 100
    assert kept.indices == list(range(outcome.frames))
