"""Gives each worker of a computer cores of its own."""

import os
import sys
import tempfile
from pathlib import Path
from typing import IO

if sys.platform == "linux":
    import fcntl

_taken: list[IO[str]] = []
"""The locks of this process. The system opens them when it ends, in whatever way."""


def take_cores(count: int) -> None:
    """Keep this thread, and those that it starts, on `count` cores that no other worker took.

    Else the threads of two workers stop each other on one core while another one is free. Where
    too few cores are left, and on systems other than Linux, the thread stays where it is.
    """
    if sys.platform != "linux" or _taken:
        return
    usable = sorted(os.sched_getaffinity(0))
    if count >= len(usable):
        return
    folder = Path(tempfile.gettempdir(), f"qlumen-cores-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    cores: set[int] = set()
    for core in usable:
        lock = (folder / str(core)).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _taken.append(lock)
        cores.add(core)
        if len(cores) == count:
            os.sched_setaffinity(0, cores)
            return
    while _taken:
        _taken.pop().close()
