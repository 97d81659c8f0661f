"""Tests that the window gets only the newest frame, and that frames it did not get are counted."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.counters import MONITOR_DELAY
from qlumen.realtime.live.stage import MonitorRunner
from qlumen.realtime.sinks.monitor import Monitor

from support.media import result_of

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Window(Monitor):
    """Remembers the frames instead of showing them, so that no screen is needed."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self.idled = 0
        self.is_closed = False

    def write(self, result: FrameResult) -> None:
        self._check()
        self.shown.append(result.frame.index)

    def idle(self) -> None:
        self._check()
        self.idled += 1

    def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_closed:
            raise SinkError("the window was closed")


class Setup:
    def __init__(self) -> None:
        self.window, self.latency = Window(), LatencyRecorder()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.runner = MonitorRunner(self.window, self.latency, self.note)

    def note(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def put(self, *indices: int) -> None:
        now_ns = time.monotonic_ns()
        for index in indices:
            result = result_of(IMAGE, index)
            self.runner.put(replace(result, frame=replace(result.frame, grabbed_ns=now_ns)))


def test_the_newest_frame_is_shown() -> None:
    """Earlier frames since the last turn are left out and counted."""
    setup = Setup()
    setup.put(0, 1, 2)
    setup.runner.turn()
    setup.put(3)
    setup.runner.turn()
    assert setup.window.shown == [2, 3]
    assert (setup.runner.written, setup.runner.drops["monitor_slow"]) == (2, 2)
    assert setup.latency.summary()[MONITOR_DELAY].count == 2


def test_without_a_frame_the_window_is_served() -> None:
    """The window answers its keys also while no frame comes."""
    setup = Setup()
    setup.runner.turn()
    assert (setup.window.shown, setup.window.idled) == ([], 1)


def test_a_closed_window_gets_nothing_more() -> None:
    """An event reports the closed window, and shown and lost frames are all that were given."""
    setup = Setup()
    setup.put(0)
    setup.runner.turn()
    setup.window.close()
    setup.put(1)
    setup.runner.turn()
    setup.put(2, 3)
    assert not setup.runner.attached
    assert setup.runner.drops == {"monitor_slow": 0, "monitor_detached": 3}
    assert setup.events == [
        ("sink_detached", {"sink": "monitor", "reason": "the window was closed"})
    ]


def test_a_window_that_is_closed_while_no_frame_comes_loses_no_frame() -> None:
    """No frame counts as lost before the next one comes."""
    setup = Setup()
    setup.window.close()
    setup.runner.turn()
    assert not setup.runner.attached
    assert sum(setup.runner.drops.values()) == 0
