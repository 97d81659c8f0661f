"""Starts the threads of qlumen, lists them until they end, and sets their priorities."""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
        name: name of the thread in a profile and a debugger. A thread that is started by `OWNER/x`
            is named `OWNER/name`.
        prepare: function that the thread calls before the work, for example to set its priority.
        on_error: function that the thread calls with an error of `prepare` or `work`; without
            it Python prints the traceback.
        daemon: True if the interpreter may end without waiting for the thread.
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

    thread = threading.Thread(target=run, name=_own(name), daemon=daemon)
    _threads.add(thread)
    thread.start()
    return thread


def start_pool(
    name: str, threads: int, prepare: Callable[[], object] | None = None
) -> ThreadPoolExecutor:
    """Make an executor whose threads are listed; each thread calls `prepare` once."""

    def begin() -> None:
        _threads.add(threading.current_thread())
        if prepare is not None:
            prepare()

    return ThreadPoolExecutor(threads, _own(name), begin)


def _own(name: str) -> str:
    """Return the name with the owner of the calling thread before it."""
    owner, slash, _ = threading.current_thread().name.rpartition("/")
    return owner + slash + name


def running_threads() -> list[threading.Thread]:
    """List qlumen's threads that have not ended."""
    return [thread for thread in threading.enumerate() if thread in _threads]


def hung_threads(patience_s: float) -> list[threading.Thread]:
    """List the other threads that have not ended within `patience_s` from now."""
    deadline = time.monotonic() + patience_s
    others = [each for each in running_threads() if each is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in others if thread.is_alive()]


LIVE_NICENESS = -10
MODEL_NICENESS = 0
WRITER_NICENESS = 5
"""The first is of a process that shows live video; the others count from it. Findings are late
after 40 ms; outputs can wait half a second. Larger values are not safe. A thread may hold the
interpreter when its time slice ends. Other busy programs would then make this thread wait, and the
video with it."""
REALTIME_PRIORITY = 1
SWITCH_SECONDS = 3e-5
"""Longest time that a thread in Python may make another one wait. Python's default of 5 ms is the
whole budget of the video path, whose stages ask for the interpreter again after each kernel."""


def raise_priority() -> bool:
    """Give the calling thread real-time priority; threads that it starts do not inherit it.

    Return whether the system allowed it: Linux does for root, and up to `RLIMIT_RTPRIO`.
    """
    if sys.platform != "linux":
        return False
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True


def put_process_first() -> None:
    """Let the calling thread, and threads that it starts later, go before other programs.

    A process that shows live video calls this before it starts threads. Linux allows it to root,
    and up to `RLIMIT_NICE`; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LIVE_NICENESS)


def lower_priority(niceness: int) -> None:
    """Make the calling thread, and threads that it starts later, give way to others.

    Only Linux has a niceness for each thread; on other systems nothing happens.

    Args:
        niceness: niceness above that of the thread now.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, now + niceness)
