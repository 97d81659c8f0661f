"""Priorities are those of one thread, and are passed on as they should be."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from qlumen.system.threads import lower_priority, raise_priority

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities per thread: Linux")


def in_a_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_lower_priority_is_that_of_the_thread_and_of_those_it_starts() -> None:
    """The others keep theirs."""
    before = niceness()

    def work() -> tuple[int, int]:
        lower_priority(before + 3)
        return niceness(), in_a_thread(niceness)

    assert in_a_thread(work) == (before + 3, before + 3)
    assert niceness() == before


def test_real_time_priority_is_not_passed_on() -> None:
    """What the thread starts, such as a decoder's threads, runs as before; without permission
    nothing changes."""

    def work() -> tuple[bool, int, int]:
        allowed = raise_priority()
        return allowed, os.sched_getscheduler(0), in_a_thread(lambda: os.sched_getscheduler(0))

    allowed, own, started = in_a_thread(work)
    wanted = os.SCHED_RR | os.SCHED_RESET_ON_FORK if allowed else os.SCHED_OTHER
    assert (own, started) == (wanted, os.SCHED_OTHER)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
