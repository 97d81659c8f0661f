"""The threads of this process: all that the project starts are listed here until they end."""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

_threads: "WeakSet[threading.Thread]" = WeakSet()
"""Python's own table holds the threads of libraries as well."""


def start(
    name: str,
    work: Callable[[], object],
    *,
    prepare: Callable[[], object] | None = None,
    on_error: Callable[[BaseException], None] | None = None,
    daemon: bool = True,
) -> threading.Thread:
    """Start a thread that does `work`, and list it.

    Args:
        name: what a profile and a debugger call it.
        prepare: called in the thread before the work, such as to set its priority.
        on_error: called in the thread with what either of both raises; without it Python prints
            the traceback.
        daemon: whether the interpreter may end without waiting for it.
    """

    def run() -> None:
        try:
            if prepare is not None:
                prepare()
            work()
        except BaseException as error:
            if on_error is None:
                raise
            on_error(error)

    thread = threading.Thread(target=run, name=name, daemon=daemon)
    _threads.add(thread)
    thread.start()
    return thread


def start_pool(
    name: str, threads: int, prepare: Callable[[], object] | None = None
) -> ThreadPoolExecutor:
    """Make an executor whose threads are listed; `prepare` is called once in each of them."""

    def begin() -> None:
        _threads.add(threading.current_thread())
        if prepare is not None:
            prepare()

    return ThreadPoolExecutor(threads, name, begin)


def running_threads() -> list[threading.Thread]:
    """List the threads that were started here and have not ended."""
    return [thread for thread in threading.enumerate() if thread in _threads]


def hung_threads(patience_s: float) -> list[threading.Thread]:
    """List the threads that have not ended `patience_s` from now; the calling one is left out."""
    deadline = time.monotonic() + patience_s
    others = [each for each in running_threads() if each is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in others if thread.is_alive()]


MODEL_NICENESS = 0
WRITER_NICENESS = 5
"""A frame's findings are late after 40 ms; what is written can wait half a second. No lower: a
thread may hold the interpreter when its turn is over, and other programs that are busy would
keep it, and with it the picture, waiting for the next one."""
REALTIME_PRIORITY = 1
SWITCH_SECONDS = 3e-5
"""How long a thread that runs Python may keep another one waiting; Python's own is 5 ms, as long
as the whole budget of the video path, whose stages ask for their turn again after each kernel."""


def raise_priority() -> bool:
    """Give the calling thread, and none that it starts, a real-time turn before all others.

    Returns whether the system let it: Linux does for root, and up to `RLIMIT_RTPRIO`.
    """
    if sys.platform != "linux":
        return False
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True


def lower_priority(niceness: int) -> None:
    """Make the calling thread, and those it starts from now on, give way to others.

    Only Linux has a niceness per thread; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
