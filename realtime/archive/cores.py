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
    too few cores are left, or the locks cannot be written, and on systems other than Linux, the
    thread stays where it is.
    """
    if sys.platform != "linux" or _taken:
        return
    usable = sorted(os.sched_getaffinity(0))
    if count >= len(usable):
        return
    folder = Path(tempfile.gettempdir(), f"qlumen-cores-{os.getuid()}")
    cores: set[int] = set()
    for core in usable:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = (folder / str(core)).open("a")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another worker has the core, or the folder is another user's
            continue
        _taken.append(lock)
        cores.add(core)
        if len(cores) == count:
            os.sched_setaffinity(0, cores)
            return
    while _taken:
        _taken.pop().close()
