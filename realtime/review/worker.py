"""The process that opens recordings: it may be killed, and cannot take more than its limits.

Reads one line of JSON, a `Job`, from its standard input; writes lines of JSON to its
standard output: `{"done": 3, "expected": 181}`, and at last `{"result": ...}` or
`{"error": "..."}`. It leads a session of its own, and all of that ends when its input is
closed, as when its parent is gone.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

from qlumen.errors import QlumenError
from qlumen.system.threads import start

NICENESS = 10
"""Live video in the parent goes first."""
REPORT_S = 0.1
TASKS = {
    "review": "qlumen.realtime.review.review_job",
    "exports": "qlumen.realtime.report.export_job",
}
"""Modules whose `run(arguments, progress)` does the work; named as text because these are
built upon this one's package."""

Tell = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Job:
    """Attributes:
    task: one of `TASKS`.
    arguments: for it, as JSON takes them.
    memory_bytes: of the process's own writable memory (RLIMIT_DATA).
    cpu_s: processor time.
    file_bytes: of a file it writes, at most.
    """

    task: str
    arguments: dict[str, Any]
    memory_bytes: int
    cpu_s: int
    file_bytes: int

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def main() -> None:
    """Do one job. The exit code is 0 when it said how it ended."""
    job = Job(**json.loads(sys.stdin.readline()))
    out = _own_output()
    start("parent", _end_with_parent)
    _limit(job)
    try:
        result = importlib.import_module(TASKS[job.task]).run(job.arguments, _reporter(out))
    except (QlumenError, OSError) as error:
        _say(out, {"error": str(error)})
    except MemoryError:
        _say(out, {"error": _too_much_memory(job)})
    else:
        _say(out, {"result": result})
    # Threads that hang in a decoder, or wait for one, are not waited for.
    os._exit(0)


def _own_output() -> IO[str]:
    """Standard output for reports alone: what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def _end_with_parent() -> None:
    sys.stdin.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _limit(job: Job) -> None:
    os.nice(NICENESS)
    for kind, most in (
        (resource.RLIMIT_DATA, job.memory_bytes),
        (resource.RLIMIT_CPU, job.cpu_s),
        (resource.RLIMIT_FSIZE, job.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lower, lower))


def _reporter(out: IO[str]) -> Tell:
    """Tells of progress, not more often than every `REPORT_S`."""
    last_s = 0.0

    def tell(done: int, expected: int | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= REPORT_S or done == expected:
            last_s = now_s
            _say(out, {"done": done, "expected": expected})

    return tell


def _too_much_memory(job: Job) -> str:
    mib = job.memory_bytes >> 20
    return f"the recording needs more than {mib} MiB of memory; scale it down or cut it"


def _say(out: IO[str], content: dict[str, Any]) -> None:
    out.write(json.dumps(content) + "\n")
    out.flush()
