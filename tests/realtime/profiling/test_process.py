import gc
import mmap
import sys
import threading
import time
from bisect import bisect_left

import cv2
import numpy as np
import pytest

from qlumen.realtime.profiling.process import (
    GcClock,
    Reading,
    ThreadUse,
    name_this_thread,
    native_threads_named,
    thread_uses,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists threads")
BUSY_S = 0.1


@LINUX
def test_a_busy_thread_differs_from_an_idle_one() -> None:
    """Its processor time is that of its own clock; the idle one uses almost no time."""
    spent: list[float] = []
    done, may_end = threading.Event(), threading.Event()

    def work() -> None:
        while time.thread_time() < BUSY_S:
            pass
        spent.append(time.thread_time())
        done.set()
        may_end.wait()

    before = Reading.now()
    busy = threading.Thread(target=work, name="busy")
    idle = threading.Thread(target=may_end.wait, name="idle")
    for thread in (busy, idle):
        thread.start()
    done.wait()
    uses = {use.name: use for use in thread_uses(before, Reading.now())}
    may_end.set()
    for thread in (busy, idle):
        thread.join()
    assert abs(uses["busy"].cpu_s - spent[0]) < 0.03
    assert uses["idle"].cpu_s < 0.03
    assert uses["busy"].cores > 0
    assert uses["busy"].waited_s >= 0


@LINUX
def test_threads_of_a_library_carry_the_name_of_their_part() -> None:
    """Threads that a library starts in the block have the name; this thread gets its own back."""
    before = name_this_thread("mine")

    def use_library() -> None:
        with native_threads_named("vision"):
            cv2.setNumThreads(3)
            cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1500, 1500))

    use_library()
    assert name_this_thread(before or "python") == "mine"
    names = {use.name for use in thread_uses(Reading.now(), Reading.now())}
    assert "vision (native)" in names or cv2.getNumThreads() == 1


def test_collections_are_counted_and_timed() -> None:
    """Only collections during the block count."""
    before = list(gc.callbacks)
    with GcClock() as clock:
        gc.collect()
        gc.collect()
    gc.collect()
    assert clock.collections == 2
    assert 0 < clock.longest_ns <= clock.total_ns
    assert gc.callbacks == before


def test_collections_are_found_in_the_time_of_a_frame() -> None:
    """All of a collection lies between two moments around it, half before its middle.

    Bisection finds the middle. After the time of the other half, the whole collection has passed.
    """
    begun = time.monotonic_ns()
    with GcClock() as clock:
        gc.collect()
    ended = time.monotonic_ns()
    assert clock.between(begun, ended) == clock.total_ns
    half = clock.total_ns // 2
    middle = begun + bisect_left(
        range(ended - begun), half, key=lambda ns: clock.between(begun, begun + ns)
    )
    assert clock.between(begun, middle) == half
    end = middle + clock.total_ns - half
    assert clock.between(begun, end) == clock.total_ns
    assert clock.between(begun, end - 1) == clock.total_ns - 1
    assert clock.between(ended, ended + 10**9) == 0


def test_memory_and_faults_are_those_of_the_system() -> None:
    """New pages cause page faults and resident memory."""
    before = Reading.now()
    with mmap.mmap(-1, 32 << 20) as fresh:  # the C library may still have freed pages
        fresh.write(b"1" * len(fresh))
        after = Reading.now()
    assert after.rss_mib - before.rss_mib > 16
    assert after.page_faults > before.page_faults
    assert isinstance(thread_uses(before, after)[0], ThreadUse)
