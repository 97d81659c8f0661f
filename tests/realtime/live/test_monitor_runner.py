"""The window gets the newest picture only, and what it did not get is counted."""

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
    """Remembers what it showed instead of showing it; needs no screen."""

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


class Room:
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


def test_the_newest_picture_is_shown() -> None:
    """Those that came before it since the last turn are left out, and counted."""
    room = Room()
    room.put(0, 1, 2)
    room.runner.turn()
    room.put(3)
    room.runner.turn()
    assert room.window.shown == [2, 3]
    assert (room.runner.written, room.runner.drops["monitor_slow"]) == (2, 2)
    assert room.latency.summary()[MONITOR_DELAY].count == 2


def test_without_a_picture_the_window_is_served() -> None:
    """So that its keys are answered."""
    room = Room()
    room.runner.turn()
    assert (room.window.shown, room.window.idled) == ([], 1)


def test_a_closed_window_gets_nothing_more() -> None:
    """An event says so; with the shown pictures the lost ones are all that were given."""
    room = Room()
    room.put(0)
    room.runner.turn()
    room.window.close()
    room.put(1)
    room.runner.turn()
    room.put(2, 3)
    assert not room.runner.attached
    assert room.runner.drops == {"monitor_slow": 0, "monitor_detached": 3}
    assert room.events == [
        ("sink_detached", {"sink": "monitor", "reason": "the window was closed"})
    ]


def test_a_window_that_is_closed_while_no_picture_comes_costs_none() -> None:
    """Nothing was lost by then."""
    room = Room()
    room.window.close()
    room.runner.turn()
    assert not room.runner.attached
    assert sum(room.runner.drops.values()) == 0
