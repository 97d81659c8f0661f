"""What the process used: processor time by thread, memory, page faults, garbage collection."""

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
"""Of a thread's name, as the system keeps it."""
NATIVE = " (native)"
RECENT_COLLECTIONS = 64


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """Attributes:
    name: of the Python thread, or of the part whose native threads these are, all together.
    cpu_s: processor time. cores: the same over the time that passed.
    waited_s: ready to run, but without a processor: too many threads, here or elsewhere.
    """

    name: str
    threads: int
    cpu_s: float
    cores: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """A thread of the system's: nanoseconds that it ran, and that it waited for a processor."""

    name: str
    cpu_ns: int
    waited_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment. Threads are by the system's number."""

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
    """By name, the busiest first. What threads used that have ended between is left out."""
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
    """Of the process, now."""
    return psutil.Process().memory_info().rss / MIB


def peak_rss_mib() -> float:
    """Since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def native_threads_named(name: str) -> Iterator[None]:
    """Threads that libraries start in this block carry `name`: on Linux, a thread begins with
    the name of the one that starts it."""
    before = name_this_thread(name)
    yield
    if before is not None:
        name_this_thread(before)


def name_this_thread(name: str) -> str | None:
    """Name it for the system, and return the name before; None where that is not possible."""
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
        collections: finished ones. total_ns, longest_ns: what they took; all threads stand
            still meanwhile.
    """

    def __init__(self) -> None:
        self._begun_ns = 0
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT_COLLECTIONS)
        self.reset()

    def reset(self) -> None:
        self.collections = self.total_ns = self.longest_ns = 0

    def between(self, begin_ns: int, end_ns: int) -> int:
        """Nanoseconds of the time between two moments, neither long past, that it took."""
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
    """By the system's number; empty where the system does not tell."""
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for folder in sorted(TASKS.glob("*")):
        number = int(folder.name)
        with suppress(OSError):  # it has ended meanwhile
            native = (folder / "comm").read_text(encoding="utf-8").strip() + NATIVE
            found[number] = Task(python.get(number, native), *_times_ns(folder))
    return found


def _times_ns(task: Path) -> tuple[int, int]:
    """Ran and waited, from `schedstat`. A kernel without it counts in ticks how long a thread
    ran, and not how long it waited."""
    with suppress(FileNotFoundError):
        ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
        return int(ran), int(waited)
    fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK"), 0
