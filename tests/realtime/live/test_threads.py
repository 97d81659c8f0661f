"""Tests that priorities are those of one thread, and that new threads inherit the right ones."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from qlumen.system.threads import lower_priority, raise_priority

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


def test_a_lower_priority_is_that_of_the_thread_and_of_those_it_starts() -> None:
    """The thread and those it starts get the lower priority, and the others keep theirs."""
    before = niceness()

    def work() -> tuple[int, int]:
        lower_priority(3)
        return niceness(), run_in_thread(niceness)

    assert run_in_thread(work) == (before + 3, before + 3)
    assert niceness() == before


@pytest.mark.parametrize("allowed", [True, False])
def test_a_process_of_live_video_goes_first_where_that_is_allowed(allowed: bool) -> None:
    """Its threads keep their order with the right to do so and without."""
    if allowed and os.getuid():
        pytest.skip("a niceness below 0 needs root here")
    code = (
        "import os, resource; from qlumen.system import threads as t\n"
        f"if not {allowed}:\n"
        "    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))\n"
        "    os.getuid() or os.setresuid(65534, 65534, 65534)\n"
        "t.put_process_first(); first = os.getpriority(os.PRIO_PROCESS, 0)\n"
        "t.lower_priority(t.WRITER_NICENESS); print(first, os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, writer = map(int, done.stdout.split())
    assert (first, writer) == ((-10, -5) if allowed else (niceness(), niceness() + 5))


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
