"""Runs in the process that opens recordings; it has limits and may be killed.

It reads one line of JSON, a `Job`, from its standard input. It writes lines of JSON to its
standard output: `{"done": 3, "expected": 181}`, and at the end `{"result": ...}` or
`{"error": "..."}`. It leads a session of its own. The whole session ends when the input is
closed, for example when the parent is gone.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

from qlumen.errors import QlumenError, describe
from qlumen.system.threads import start

NICENESS = 10
"""Live video in the parent has priority."""
REPORT_S = 0.1
CPU_ROOM_S = 5
"""At the limit of processor time comes SIGXCPU; at the end of this room SIGKILL, which may also
mean that the machine ran out of memory."""
TASKS = {
    "review": "qlumen.realtime.review.review_job",
    "annotate": "qlumen.realtime.annotation.annotate_job",
    "exports": "qlumen.realtime.report.export_job",
    "import": "qlumen.calibration.import_job",
}
"""Modules whose `run(arguments, on_progress)` does the work; they import this module."""

OnProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Job:
    """Describes a task and the limits of its process.

    Attributes:
        task: key of `TASKS`.
        arguments: arguments of the task in plain JSON types.
        memory_bytes: most writable memory of the process (RLIMIT_DATA).
        cpu_s: most processor time in seconds.
        file_bytes: largest size of a file that it writes.
        subject: what the messages say that the task works on.
    """

    task: str
    arguments: dict[str, Any]
    memory_bytes: int
    cpu_s: int
    file_bytes: int
    subject: str = "the recording"

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def main() -> None:
    """Do one job; the exit code is 0 if it reported how it ended."""
    job = Job(**json.loads(sys.stdin.readline()))
    out = _reserve_output()
    start("parent", _end_with_parent)
    _limit(job)
    try:
        result = importlib.import_module(TASKS[job.task]).run(job.arguments, _make_reporter(out))
    except (QlumenError, OSError) as error:
        _send(out, {"error": str(error)})
    except MemoryError:
        limit = f"{job.memory_bytes >> 20} MiB of memory"
        _send(out, {"error": f"{job.subject} needs more than {limit}; use a smaller one"})
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent has to know the reason
        traceback.print_exc()
        _send(out, {"error": f"{job.subject}'s worker failed: {_one_line(error)}"})
    else:
        _send(out, {"result": result})
    # Threads that hang in a decoder, or wait for one, would delay a normal exit.
    os._exit(0)


def _one_line(error: BaseException) -> str:
    return " ".join(describe(error).split())


def _reserve_output() -> IO[str]:
    """Keep standard output for reports; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def _end_with_parent() -> None:
    sys.stdin.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _limit(job: Job) -> None:
    import resource

    os.nice(NICENESS)
    for kind, most, room in (
        (resource.RLIMIT_DATA, job.memory_bytes, 0),
        (resource.RLIMIT_CPU, job.cpu_s, CPU_ROOM_S),
        (resource.RLIMIT_FSIZE, job.file_bytes, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limits = (most, most + room)
        if hard != resource.RLIM_INFINITY:
            limits = (min(most, hard), min(most + room, hard))
        resource.setrlimit(kind, limits)


def _make_reporter(out: IO[str]) -> OnProgress:
    """Make a callback that reports the end, and other progress at most every `REPORT_S`."""
    last_s = 0.0

    def report(done: int, expected: int | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= REPORT_S or done == expected:
            last_s = now_s
            _send(out, {"done": done, "expected": expected})

    return report


def _send(out: IO[str], content: dict[str, Any]) -> None:
    out.write(json.dumps(content) + "\n")
    out.flush()
