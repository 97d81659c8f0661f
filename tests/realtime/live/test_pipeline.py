"""Tests that frames go from the source to all sinks, whatever the model or the source does."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qlumen.errors import SourceError
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.frames import AiState, Frame, FrameResult, Recordable
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.alarm import Alarms
from qlumen.realtime.live.annotator import LatestAnnotations
from qlumen.realtime.live.control import Control
from qlumen.realtime.live.counters import MODEL_BUSY, RAW_DELAY, LiveCounters
from qlumen.realtime.live.display import Display
from qlumen.realtime.live.pipeline import LiveOutcome, LivePipeline
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import MICROSECOND, LiveSource, SignalLost, SourceInfo

SIZE = (64, 48)
STEP_S = 0.02
QUICK = ["live.no_signal_s=0.3"]

Step = float | SignalLost | Exception
"""A frame after this number of seconds, a loss, or an error of the source."""


class ScriptedSource(LiveSource):
    """Does what a test says."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.info = SourceInfo("given", *SIZE, Fraction(50), None)
        self.drops = Counter()
        self._steps, self._stopped = steps, False

    def arrivals(self) -> Iterator[Frame | SignalLost]:
        image, index = np.zeros((*SIZE[::-1], 3), np.uint8), 0
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, SignalLost):
                yield step
                continue
            time.sleep(step)
            if self._stopped:
                return
            now_ns = time.monotonic_ns()
            yield Frame(index, now_ns // 1000, MICROSECOND, BgrImage(image), now_ns)
            index += 1

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        pass


class MemorySink(Sink[Recordable]):
    def __init__(self) -> None:
        self.results: list[Any] = []

    def write(self, result: Recordable) -> None:
        self.results.append(result)

    def close(self) -> None:
        pass


class Setup:
    """Holds a pipeline with one sink for images and one for events, without a model."""

    ai_runs = recording = False

    def __init__(self, steps: Sequence[Step], overrides: Sequence[str] = ()) -> None:
        settings = load_settings(None, overrides)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.latency, self.latest = LatencyRecorder(), LatestAnnotations()
        self.counters = LiveCounters(self.latency)
        self.inbox: DroppingQueue[Frame] = DroppingQueue()
        self.images, self.lines = MemorySink(), MemorySink()
        sinks = {"images": self.images, "lines": self.lines}
        self.runners = [self.run_sink(name, sink) for name, sink in sinks.items()]
        self.display = self.make_display(settings)
        self.pipeline = LivePipeline(
            ScriptedSource(steps), self.inbox, self.latest, self.display, self.runners[:1],
            self.runners[1:], self.counters, self.note, lambda: settings,
        )  # fmt: skip

    def make_display(self, settings: Settings) -> Display:
        control = Control(read_bundle(find_bundle()), settings, self.note)
        display = Display(self.latest, control, self.latency, self, Alarms(self.note), self.note)
        display.warm_up(SIZE)
        return display

    def note(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def run_sink(self, name: str, sink: Sink) -> SinkRunner:
        return SinkRunner(name, lambda: sink, self.latency, self.note, frames=1000)

    def run(self, seconds: float | None = None) -> LiveOutcome:
        def pump() -> bool:
            time.sleep(0.01)
            return True

        for runner in self.runners:
            runner.start()
        outcome = self.pipeline.run(seconds, pump)
        for runner in self.runners:
            runner.close(30)
        return outcome


def test_every_frame_reaches_every_sink_once_and_in_order() -> None:
    """Sinks for images get drawn frames, and the counts are those of the frames handed out."""
    setup = Setup([STEP_S] * 30)
    outcome = setup.run()
    assert outcome.error is None
    shown = [result.frame.index for result in setup.images.results if signal_of(result)]
    assert shown == [record.index for record in setup.lines.results] == list(range(30))
    assert all(result.annotated is not None for result in setup.images.results)
    assert (setup.counters.arrived, setup.counters.shown) == (30, 30)
    assert setup.counters.states == {AiState.OFF: 30}
    assert setup.latency.summary()[RAW_DELAY].count == 30


def signal_of(result: FrameResult) -> bool:
    assert result.live is not None
    return result.live.signal


def test_a_model_that_takes_nothing_costs_no_frame() -> None:
    """A late model finds the newest frame, and the others count as not seen by it."""
    setup = Setup([STEP_S] * 20)
    setup.run()
    assert setup.counters.drops[MODEL_BUSY] == 19
    newest = setup.inbox.get(0)
    assert newest is not None
    assert newest.index == 19


@pytest.mark.parametrize("mode", ["passthrough", "synchronous"])
def test_the_model_has_a_frame_first_only_where_the_video_waits_for_it(mode: str) -> None:
    """While a frame is drawn, the model's inbox has the frame before it in passthrough, and the
    frame itself in the synchronous mode."""
    setup = Setup([STEP_S] * 5, [f"live.mode={mode}"])
    offered: list[tuple[int, int | None]] = []

    class Looking(Display):
        def show(self, frame: Frame, *, signal: bool = True) -> FrameResult:
            waiting = setup.inbox.get(0)
            offered.append((frame.index, waiting and waiting.index))
            return super().show(frame, signal=signal)

    setup.display.__class__ = Looking
    setup.run()
    own = mode == "synchronous"
    assert offered == [(i, i if own else i - 1 if i else None) for i in range(5)]


def test_a_silent_source_has_its_last_frame_shown_as_such() -> None:
    """Held frames go only to the sinks for images, and the log has the silence and its end."""
    setup = Setup([STEP_S] * 3 + [1.2] + [STEP_S] * 3, QUICK)
    setup.run()
    held = [result.frame.index for result in setup.images.results if not signal_of(result)]
    assert held
    assert set(held) == {2}
    assert [record.index for record in setup.lines.results] == list(range(7))
    assert (setup.counters.silences, setup.counters.no_signal) == (1, len(held))
    assert [kind for kind, _ in setup.events] == ["format", "signal_lost", "signal_back"]
    times = [result.frame.time_s for result in setup.images.results]
    assert times == sorted(times)


def test_a_lost_connection_is_counted() -> None:
    """The counters and the log have the loss, one failed attempt, and the return."""
    lost = [SignalLost("gone", attempt, 0.1, time.monotonic_ns()) for attempt in (0, 1)]
    setup = Setup([STEP_S, *lost, STEP_S])
    setup.run()
    counters = setup.counters
    assert (counters.losses, counters.failed_reopens, counters.reconnects) == (1, 1, 1)
    reasons = [fields["attempt"] for kind, fields in setup.events if kind == "signal_lost"]
    assert reasons == [0, 1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(SourceError("cable pulled"), "cable pulled"), (KeyError("a bug"), "KeyError: 'a bug'")],
)
def test_a_source_that_fails_ends_the_session_with_its_reason(
    error: Exception, reason: str
) -> None:
    """Frames from before the error are shown."""
    setup = Setup([STEP_S, STEP_S, error])
    outcome = setup.run()
    assert outcome.error == reason
    assert [result.frame.index for result in setup.images.results] == [0, 1]


def test_a_session_ends_when_its_time_is_up() -> None:
    """An endless source is stopped after the given time."""
    setup = Setup([STEP_S] * 10_000)
    outcome = setup.run(seconds=0.5)
    assert outcome.error is None
    assert 0.5 <= outcome.seconds < 20
    assert 0 < setup.counters.shown < 1000
