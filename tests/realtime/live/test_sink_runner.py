"""Tests that no sink delays the video or another sink, and that losses are counted and reported."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live import stage
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.sinks.base import Sink
from qlumen.system.backoff import Backoff

from support.media import result_of

IMAGE = np.zeros((4, 6, 3), np.uint8)


class MemorySink(Sink):
    """Remembers indices; waits for `gate` in each write; raises `error` at frame `fails_at`."""

    def __init__(self, fails_at: int = -1, error: BaseException | None = None) -> None:
        self.indices: list[int] = []
        self.fails_at, self.error = fails_at, error
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.closed = 0

    def write(self, result: FrameResult) -> None:
        self.entered.set()
        self.gate.wait(30)
        if self.error and result.frame.index == self.fails_at:
            raise self.error
        self.indices.append(result.frame.index)

    def close(self) -> None:
        self.closed += 1


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **fields: object) -> None:
        self.lines.append((kind, fields))


def run(sink: Sink, note: Log, frames: int = 3, *, reopens: bool = False) -> SinkRunner:
    runner = SinkRunner(
        "out", lambda: sink, LatencyRecorder(), note, frames=frames, reopens=reopens
    )
    runner.start()
    return runner


def put(runner: SinkRunner, *indices: int) -> None:
    for index in indices:
        runner.put(result_of(IMAGE, index))


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_what_waits_is_written_before_the_sink_is_closed() -> None:
    """Closing loses nothing that the queue had taken."""
    sink, note = MemorySink(), Log()
    sink.gate.clear()
    runner = run(sink, note, frames=10)
    put(runner, *range(5))
    sink.gate.set()
    runner.close(30)
    assert (sink.indices, sink.closed, runner.written) == ([0, 1, 2, 3, 4], 1, 5)


def test_a_slow_sink_loses_frames_and_counts_them() -> None:
    """The newest frames wait, and the frames that they replace are counted."""
    sink, note = MemorySink(), Log()
    sink.gate.clear()
    runner = run(sink, note, frames=2)
    put(runner, 0)
    assert sink.entered.wait(30)
    put(runner, *range(1, 10))
    assert runner.drops["out_slow"] == 7
    sink.gate.set()
    runner.close(30)
    assert sink.indices == [0, 8, 9]


@pytest.mark.parametrize("error", [SinkError("disk full"), ZeroDivisionError("a bug")])
def test_a_broken_sink_is_detached_closed_and_reported(error: Exception) -> None:
    """A broken sink gets no further frame, and the event says why."""
    sink, note = MemorySink(fails_at=1, error=error), Log()
    runner = run(sink, note)
    put(runner, 0)
    wait_until(lambda: sink.indices == [0])
    put(runner, 1)
    wait_until(lambda: not runner.attached)
    put(runner, 2)
    runner.close(30)
    assert (sink.indices, sink.closed) == ([0], 1)
    (kind, fields) = note.lines[0]
    assert kind == "sink_detached"
    assert str(error) in fields["reason"]
    assert any(str(error) in line for line in runner.notes)


def test_frames_that_a_broken_sink_did_not_get_are_counted() -> None:
    """The counted frames are the one at which it broke, those that waited, and those that came
    later. With the written frames they are all that were given."""
    sink, note = MemorySink(fails_at=1, error=SinkError("disk full")), Log()
    runner = run(sink, note)
    put(runner, 0)
    wait_until(lambda: sink.indices == [0])
    sink.gate.clear()
    sink.entered.clear()
    put(runner, 1)
    assert sink.entered.wait(30)
    put(runner, 2, 3)
    sink.gate.set()
    wait_until(lambda: not runner.attached)
    put(runner, 4, 5)
    runner.close(30)
    assert (runner.written, runner.drops) == (1, {"out_slow": 0, "out_detached": 5})


def test_a_network_sink_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an attempt that fails and one that works, frames flow again."""
    monkeypatch.setattr(stage, "REOPEN", Backoff(0.01, 0.01))
    note, second = Log(), MemorySink()
    attempts: list[Sink | SinkError] = [
        MemorySink(fails_at=0, error=SinkError("peer gone")), SinkError("still gone"), second,
    ]  # fmt: skip

    def open_next() -> Sink:
        attempt = attempts.pop(0)
        if isinstance(attempt, SinkError):
            raise attempt
        return attempt

    runner = SinkRunner("out", open_next, LatencyRecorder(), note, frames=3, reopens=True)
    runner.start()
    put(runner, 0)
    wait_until(lambda: ("sink_attached", {"sink": "out"}) in note.lines)
    put(runner, 1)
    runner.close(30)
    assert second.indices == [1]
    assert [kind for kind, _ in note.lines] == ["sink_detached", "sink_attached"]


def test_a_sink_that_comes_back_gets_no_old_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that came before the sink was back are lost and counted."""
    monkeypatch.setattr(stage, "REOPEN", Backoff(0.01, 0.01))
    back, second = threading.Event(), MemorySink()
    firsts = [MemorySink(fails_at=0, error=SinkError("peer gone"))]

    def open_next() -> Sink:
        if firsts:
            return firsts.pop()
        if not back.is_set():
            raise SinkError("still gone")
        return second

    runner = SinkRunner("out", open_next, LatencyRecorder(), Log(), frames=3, reopens=True)
    runner.start()
    put(runner, 0)
    wait_until(lambda: not runner.attached)
    put(runner, 1, 2)
    back.set()
    wait_until(lambda: runner.attached)
    put(runner, 3)
    runner.close(30)
    assert second.indices == [3]
    assert (runner.written, runner.drops) == (1, {"out_slow": 0, "out_detached": 3})


def test_a_sink_that_never_returns_does_not_delay_the_end() -> None:
    """Closing gives up after its time, reports it, and counts the frames that still waited."""
    sink, note = MemorySink(), Log()
    sink.gate.clear()
    runner = run(sink, note)
    put(runner, 0)
    assert sink.entered.wait(30)
    put(runner, 1, 2)
    runner.close(0.05)
    assert runner.drops["out_slow"] == 2
    assert "did not finish" in runner.notes[-1]
    sink.gate.set()


def test_a_runner_that_was_never_started_closes_its_sink() -> None:
    """When a later output cannot be opened, the earlier ones are closed."""
    sink = MemorySink()
    SinkRunner("out", lambda: sink, LatencyRecorder(), Log(), frames=3).close(1)
    assert sink.closed == 1
