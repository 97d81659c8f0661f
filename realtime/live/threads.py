"""Which threads give way when the processor is short: all but those that carry the video."""

import os
import sys
import threading

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
