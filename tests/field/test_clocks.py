"""Clocks that run off, and clocks that are set, do not show in live video and recordings."""

import ast
import random
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from qlumen.realtime.sources.clock import SessionClock
from qlumen.realtime.view.security.sessions import SECONDS_PER_HOUR, Sessions

MINUTES = 20


@pytest.mark.parametrize(
    ("stamped_fps", "sent_fps"), [(60, 59.94), (59.94, 60), (25, 25.2), (30, 29.75)]
)
def test_a_source_whose_clock_runs_off_is_followed(stamped_fps: float, sent_fps: float) -> None:
    """A grabber that stamps 59.94 frames a second as 60, or a camera with a poor clock, has steps
    of its own rate and times of this machine: nothing jumps after a quarter of an hour
    (scottlamb/moonfire-nvr #350).
    """
    clock, jitter = SessionClock(), random.Random(0)
    count = round(MINUTES * 60 * sent_fps)
    arrived_us = [round(1e6 * (n / sent_fps + jitter.uniform(0, 0.03))) for n in range(count)]
    stamps_us = [clock.stamp(n / stamped_fps, at * 1000) for n, at in enumerate(arrived_us)]
    steps_us = [after - before for before, after in pairwise(stamps_us)]
    assert min(steps_us) > 0.98e6 / stamped_fps
    assert max(steps_us) < 1.02e6 / stamped_fps
    passed_us = arrived_us[-1] - arrived_us[0]
    assert abs(stamps_us[-1] - passed_us) < 0.6e6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has two such clocks")
def test_a_login_ends_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was left open is locked after its hours, also those in which the machine slept
    (daintreehq/daintree #8466, ltratt/pizauth #48).
    """
    awake, clock = time.clock_gettime, time.CLOCK_BOOTTIME
    kept = Sessions(2.0)
    token, session = kept.begin()
    for hours, lives in ((1.9, True), (2.1, False)):
        asleep_s = hours * SECONDS_PER_HOUR
        monkeypatch.setattr(
            time, "clock_gettime", lambda name, s=asleep_s: awake(name) + s * (name == clock)
        )
        assert (kept.find(token) == session) is lives


def test_nothing_is_measured_by_the_wall_clock() -> None:
    """A clock that is set in a session (NTP, an hour by hand) moves only the dates in names and
    events: no code computes with it (Motion-Project/motion #1414).
    """
    root = Path(__file__).parents[2]
    files = [file for part in ("realtime", "system") for file in (root / part).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    clocks = ("time.time(", "time.time_ns(", "datetime.now(", "datetime.utcnow(", "date.today(")
    assert any(ast.unparse(node).startswith(clocks) for node in nodes if isinstance(node, ast.Call))
    sums = [ast.unparse(node) for node in nodes if isinstance(node, ast.BinOp | ast.Compare)]
    assert not [text for text in sums if any(clock in text for clock in clocks)]
