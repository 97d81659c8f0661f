"""Measures the process: processor time by thread, memory, page faults, garbage collection."""

import gc
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

TASKS = Path("/proc/self/task")
MIB = 2**20
NAME_BYTES = 15
"""The system keeps this number of bytes of a thread's name."""
NATIVE = " (native)"
RECENT_COLLECTIONS = 64


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """Describes the processor time of the threads that have one name.

    Attributes:
        name: name of a Python thread, or of the part that owns these native threads.
        cpu_s: processor time.
        cores: processor time over the time that passed.
        waited_s: time ready to run without a processor: too many threads, here or elsewhere.
    """

    name: str
    threads: int
    cpu_s: float
    cores: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """Describes a thread of the system: its time at work and its wait for a processor."""

    name: str
    cpu_ns: int
    waited_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Holds what the process had used at one moment; threads are keyed by thread id."""

    at_ns: int
    cpu_ns: int
    threads: Mapping[int, "Task"]
    rss_mib: float
    page_faults: int

    @classmethod
    def now(cls) -> "Reading":
        return cls(
            time.monotonic_ns(),
            time.process_time_ns(),
            _tasks(),
            rss_mib(),
            resource.getrusage(resource.RUSAGE_SELF).ru_minflt,
        )


def thread_uses(before: Reading, after: Reading) -> list[ThreadUse]:
    """Return the use by name, the busiest first; threads that ended in between are left out."""
    passed_ns = after.at_ns - before.at_ns
    used: dict[str, list[Task]] = {}
    for number, task in after.threads.items():
        earlier = before.threads.get(number, Task(task.name, 0, 0))
        spent = Task(task.name, task.cpu_ns - earlier.cpu_ns, task.waited_ns - earlier.waited_ns)
        used.setdefault(task.name, []).append(spent)
    uses = []
    for name, tasks in used.items():
        cpu_ns = sum(task.cpu_ns for task in tasks)
        waited_s = sum(task.waited_ns for task in tasks) / 1e9
        uses.append(ThreadUse(name, len(tasks), cpu_ns / 1e9, cpu_ns / passed_ns, waited_s))
    return sorted(uses, key=lambda use: -use.cpu_s)


def rss_mib() -> float:
    return psutil.Process().memory_info().rss / MIB


def peak_rss_mib() -> float:
    """Return the peak since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def native_threads_named(name: str) -> Iterator[None]:
    """Give `name` to the threads that libraries start in this block: on Linux, a thread begins
    with the name of the thread that starts it."""
    before = name_this_thread(name)
    yield
    if before is not None:
        name_this_thread(before)


def name_this_thread(name: str) -> str | None:
    """Set the thread's name in the system and return the old one; None where this fails."""
    own = TASKS / str(threading.get_native_id()) / "comm"
    try:
        before = own.read_text(encoding="utf-8").strip()
        own.write_text(name[:NAME_BYTES], encoding="utf-8")
    except OSError:
        return None
    return before


class GcClock:
    """Times the garbage collector while its block runs.

    Attributes:
        collections: number of finished collections.
        total_ns, longest_ns: their duration; all threads stand still during a collection.
    """

    def __init__(self) -> None:
        self._begun_ns = 0
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT_COLLECTIONS)
        self.reset()

    def reset(self) -> None:
        self.collections = self.total_ns = self.longest_ns = 0

    def between(self, begin_ns: int, end_ns: int) -> int:
        """Return the nanoseconds of collection between two moments that are not long past."""
        overlaps = (min(end_ns, b) - max(begin_ns, a) for a, b in list(self._recent))
        return sum(overlap for overlap in overlaps if overlap > 0)

    def __enter__(self) -> "GcClock":
        gc.callbacks.append(self._on_collection)
        return self

    def __exit__(self, *exception: object) -> None:
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._begun_ns = time.monotonic_ns()
        elif self._begun_ns:
            now_ns = time.monotonic_ns()
            took_ns = now_ns - self._begun_ns
            self._recent.append((self._begun_ns, now_ns))
            self.collections += 1
            self.total_ns += took_ns
            self.longest_ns = max(self.longest_ns, took_ns)


def _tasks() -> dict[int, Task]:
    """Return the threads by the system's number; empty where the system does not list them."""
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for folder in sorted(TASKS.glob("*")):
        number = int(folder.name)
        with suppress(OSError):  # the thread has ended
            native = (folder / "comm").read_text(encoding="utf-8").strip() + NATIVE
            found[number] = Task(python.get(number, native), *_times_ns(folder))
    return found


def _times_ns(task: Path) -> tuple[int, int]:
    """Read from `schedstat` how long a thread ran and waited. A kernel without it counts the
    run time in ticks, and no wait."""
    with suppress(FileNotFoundError):
        ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
        return int(ran), int(waited)
    fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK"), 0
