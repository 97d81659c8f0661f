"""Tests that a faulty model is replaced, given up or restarted, and that frames go on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np
import pytest

from qlumen.errors import BundleError, EngineError
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.config.live import WatchdogSettings
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.annotator import Annotation, Annotator
from qlumen.realtime.live.watchdog import ModelState, Watchdog
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.queues import DroppingQueue

QUICK = {"hang_s": 3.0, "first_s": 0.01, "max_s": 0.02, "healthy_s": 3600.0}
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

Fault = Callable[[Frame], None]


class Faulty(Annotator):
    """Runs the real annotator on the shipped bundle, and calls `fault` before each frame."""

    def __init__(self, fault: Fault) -> None:
        bundle = read_bundle(find_bundle())
        settings = Settings()
        super().__init__(bundle, lambda: settings, LatencyRecorder(), count(1))
        self._fault = fault

    def __call__(self, frame: Frame) -> Annotation:
        self._fault(frame)
        return super().__call__(frame)


class Bench:
    """Holds a watchdog with what it needs, fed by `feed_until`."""

    def __init__(self, faults: list[Fault], **settings: Any) -> None:
        self.inbox: DroppingQueue[Frame] = DroppingQueue()
        self.published: list[int] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.opened = 0
        self._indices = count()
        self._faults = faults
        self.watchdog = Watchdog(
            self._open,
            self.inbox,
            lambda annotation: self.published.append(annotation.frame_index),
            lambda kind, **fields: self.notes.append((kind, fields)),
            WatchdogSettings(**(QUICK | settings)),
        )

    def _open(self) -> Annotator:
        fault = self._faults[min(self.opened, len(self._faults) - 1)]
        self.opened += 1
        return Faulty(fault)

    def feed_until(self, holds: Callable[[], bool]) -> None:
        for _ in range(6000):
            if holds():
                return
            index = next(self._indices)
            self.inbox.put(
                Frame(index, index, Fraction(1, 25), BgrImage(IMAGE), time.monotonic_ns())
            )
            time.sleep(0.01)
        raise AssertionError(f"it never came true; notes: {self.notes}")

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]


@contextmanager
def run_bench(faults: list[Fault], **settings: Any) -> Iterator[Bench]:
    bench = Bench(faults, **settings)
    bench.watchdog.start()
    try:
        yield bench
    finally:
        bench.watchdog.close()


def do_nothing(frame: Frame) -> None:
    """Cause no fault."""


def raise_on(*indices: int) -> Fault:
    def fault(frame: Frame) -> None:
        if not indices or frame.index in indices:
            raise EngineError("made to raise")

    return fault


def test_a_healthy_model_publishes_and_is_never_replaced() -> None:
    """A healthy model publishes in order, and is opened only once."""
    with run_bench([do_nothing]) as bench:
        bench.feed_until(lambda: len(bench.published) >= 5)
        assert bench.watchdog.running
        assert bench.opened == 1
    assert bench.published == sorted(bench.published)
    assert bench.notes == []


@pytest.mark.parametrize("error", [EngineError("made to raise"), ZeroDivisionError("a bug")])
def test_an_exception_is_reported_and_the_model_replaced(error: Exception) -> None:
    """Annotations come again after the exception, from a new model."""

    def fault(frame: Frame) -> None:
        raise error

    with run_bench([fault, do_nothing]) as bench:
        bench.feed_until(lambda: len(bench.published) >= 3 and len(bench.notes) >= 2)
        assert bench.kinds() == ["ai_failed", "ai_running"]
        assert str(error) in bench.notes[0][1]["reason"]
        assert bench.watchdog.restarts == 1


def test_a_hang_is_noticed_and_the_hung_model_never_publishes() -> None:
    """A model that hangs is left behind, and its annotation is dropped when it comes back."""
    release = threading.Event()
    hung: list[int] = []

    def hang(frame: Frame) -> None:
        hung.append(frame.index)
        release.wait(60)

    with run_bench([hang, do_nothing]) as bench:
        bench.feed_until(lambda: len(bench.published) >= 3)
        assert "hangs" in bench.notes[0][1]["reason"]
        release.set()
        bench.feed_until(lambda: len(bench.published) >= 6)
    assert len(hung) == 1
    assert hung[0] not in bench.published


def test_repeated_lateness_restarts_and_single_lateness_does_not() -> None:
    """Five late frames in a row restart the model, and a model in time then stays."""

    def slow(frame: Frame) -> None:
        time.sleep(0.06)

    with run_bench([slow, do_nothing], deadline_ms=50, late_frames=5) as bench:
        bench.feed_until(lambda: "ai_running" in bench.kinds())
        assert "late: 5 frames" in bench.notes[0][1]["reason"]
        assert len(bench.published) >= 4, "late annotations are still published"


def test_missed_deadlines_are_counted_immediately_and_kept_over_a_restart() -> None:
    """Every slow frame counts, except the one at work, and a restart keeps the count."""
    begun: list[int] = []

    def slow(frame: Frame) -> None:
        begun.append(frame.index)
        time.sleep(0.3)

    with run_bench([slow, do_nothing], deadline_ms=250, late_frames=0) as bench:
        bench.feed_until(lambda: len(begun) >= 4)
        before, missed = len(begun), bench.watchdog.missed_deadlines
        assert before - 1 <= missed <= len(begun)
        bench.watchdog.restart()
        bench.feed_until(lambda: bench.watchdog.running and bench.watchdog.restarts == 1)
        assert bench.watchdog.missed_deadlines >= len(begun)


def test_after_a_row_of_failures_the_model_stays_off_until_asked() -> None:
    """After three failures the model is off, and a restart on request brings it back."""
    with run_bench([raise_on(), raise_on(), raise_on(), do_nothing], failures=3) as bench:
        bench.feed_until(lambda: bench.watchdog.state is ModelState.OFF)
        assert bench.kinds() == ["ai_failed", "ai_running", "ai_failed", "ai_running", "ai_off"]
        opened = bench.opened
        for _ in range(20):
            bench.inbox.put(Frame(0, 0, Fraction(1, 25), BgrImage(IMAGE), 0))
            time.sleep(0.005)
        assert bench.opened == opened
        assert not bench.watchdog.running
        bench.watchdog.restart()
        bench.feed_until(lambda: len(bench.published) >= 1 and bench.watchdog.running)


def test_the_pause_between_restarts_doubles_up_to_its_limit() -> None:
    """The pauses are 0.01, 0.02 and then 0.02 seconds, as the settings say."""
    with run_bench([raise_on()], failures=4) as bench:
        bench.feed_until(lambda: bench.watchdog.state is ModelState.OFF)
    pauses = [f["restart_in_s"] for kind, f in bench.notes if kind == "ai_failed"]
    assert pauses == [0.01, 0.02, 0.02]


def test_a_model_that_cannot_be_opened_at_first_is_an_error() -> None:
    """A wrong bundle ends the command before any frame is shown."""

    class Broken(Bench):
        def _open(self) -> Annotator:
            raise BundleError("no such bundle")

    with pytest.raises(BundleError, match="no such bundle"):
        Broken([do_nothing]).watchdog.start()


def test_closing_during_a_pause_or_a_hang_does_not_wait_for_it() -> None:
    """A long pause and a long hang both end with the session."""
    release = threading.Event()
    for fault in (raise_on(), lambda frame: release.wait(60) and None):
        with run_bench([fault], first_s=60, max_s=600, hang_s=3.0) as bench:
            bench.feed_until(lambda: "ai_failed" in bench.kinds())
    release.set()


def test_a_key_that_is_held_down_restarts_once_at_a_time() -> None:
    """Requests while a model starts have no effect: fifty requests cause two restarts at most."""
    with run_bench([do_nothing]) as bench:
        bench.feed_until(lambda: len(bench.published) >= 1)
        for _ in range(50):
            bench.watchdog.restart()
            time.sleep(0.001)
        bench.feed_until(lambda: bench.watchdog.running and bench.watchdog.restarts >= 1)
        assert bench.opened <= 3
