"""Tests that priorities are those of one thread, and that new threads inherit the right ones."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from qlumen.system.threads import raise_priority, set_niceness

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities per thread: Linux")


def run_in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_niceness_is_that_of_the_thread_and_of_those_it_starts() -> None:
    """The thread and those it starts get the lower priority, and the others keep theirs."""
    before = niceness()

    def work() -> tuple[int, int]:
        set_niceness(before + 3)
        return niceness(), run_in_thread(niceness)

    assert run_in_thread(work) == (before + 3, before + 3)
    assert niceness() == before


def test_without_the_right_the_order_of_priorities_stays() -> None:
    """A user who may not go below 0 has the model at 0 and the writers after it."""
    code = (
        "import os, resource, sys; from qlumen.system import threads as t;"
        "resource.setrlimit(resource.RLIMIT_NICE, (0, 0));"
        "os.getuid() or os.setresuid(65534, 65534, 65534);"
        "given = os.getpriority(os.PRIO_PROCESS, 0);"
        "t.set_niceness(t.MODEL_NICENESS); model = os.getpriority(os.PRIO_PROCESS, 0);"
        "t.set_niceness(t.WRITER_NICENESS); print(given, model, os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given, model, writer = map(int, done.stdout.split())
    assert (given, model, writer) == (0, 0, 5)


def test_real_time_priority_is_not_inherited() -> None:
    """Threads that it starts, such as a decoder's, run as before; without permission nothing
    changes."""

    def work() -> tuple[bool, int, int]:
        allowed = raise_priority()
        return allowed, os.sched_getscheduler(0), run_in_thread(lambda: os.sched_getscheduler(0))

    allowed, own, started = run_in_thread(work)
    wanted = os.SCHED_RR | os.SCHED_RESET_ON_FORK if allowed else os.SCHED_OTHER
    assert (own, started) == (wanted, os.SCHED_OTHER)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
