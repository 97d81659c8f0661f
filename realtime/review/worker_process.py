"""Starts a worker, follows its progress and ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qlumen.errors import WorkerError
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.worker import Job
from qlumen.system.threads import start

START = "from qlumen.realtime.review.worker import main; main()"
POLL_S = 0.2
EXIT_S = 2.0
"""Longest time from the end of a worker's output to its exit."""
MAX_FILE_BYTES = 64 << 30
"""Limit of a file that a worker writes; maps and images of hours fit."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Holds the progress of a task.

    Attributes:
        done, expected: numbers of frames; `expected` is None if the recording does not say it.
        seconds_left: remaining time at the rate until now; None while unknown.
    """

    done: int
    expected: int | None
    seconds_left: float | None


class WorkerProcess:
    """Runs a task in a process of its own and ends it when it makes no progress.

    The methods may be called from several threads.

    Args:
        task, arguments: see `worker.Job`.
        limits: limits of the process.

    Raises:
        WorkerError: the system has no such limits.
    """

    def __init__(self, task: str, arguments: dict[str, Any], limits: Limits) -> None:
        try:
            import resource  # noqa: F401
        except ModuleNotFoundError as error:
            raise WorkerError(
                f"{limits.subject} is opened in a process with limits, which needs a POSIX system "
                "(Linux, macOS)"
            ) from error
        self._limits = limits
        self.progress = Progress(0, None, None)
        self._first: tuple[float, int] | None = None
        self._last_s = time.monotonic()
        self._report: dict[str, Any] = {}
        self._ended_by = ""
        job = Job(
            task, arguments, limits.memory_bytes, limits.cpu_s, MAX_FILE_BYTES, limits.subject
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"OPENCV_IO_MAX_IMAGE_PIXELS": str(limits.max_pixels)},
        )
        self._send(job)
        self._reader = start("worker", self._read)

    @property
    def is_running(self) -> bool:
        """Check whether the task runs; also end it after too long without progress."""
        if self._reader.is_alive() and time.monotonic() - self._last_s > self._limits.stall_s:
            self._end(f"made no progress for {self._limits.stall_s:g} s and was ended")
        elif self._reader.is_alive() and self._process.poll() is not None:
            self._kill()  # processes that libraries started live on and keep the pipe open
        return self._reader.is_alive()

    def result(self) -> Any:
        """Wait for the end and return the task's result.

        Raises:
            WorkerError: the task failed, was ended, or reached a limit; the message says which.
        """
        while self.is_running:
            self._reader.join(POLL_S)
        code = self._process.wait()
        self._reader.join()
        if "result" in self._report:
            return self._report["result"]
        raise WorkerError(self._ended_by or self._report.get("error") or self._explain(code))

    def cancel(self) -> None:
        """End the process immediately; `result` then raises WorkerError."""
        self._end("was cancelled")

    def _send(self, job: Job) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(job.line())
            self._process.stdin.flush()
        except BrokenPipeError:
            self._ended_by = "the worker could not be started"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._last_s = time.monotonic()
            report = json.loads(line)
            if "done" in report:
                self.progress = self._update(report["done"], report["expected"])
            else:
                self._report = report
                break
        if not self._report:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_S)  # a signal of ours would hide what ended it
        self._kill()
        self._process.wait()

    def _update(self, done: int, expected: int | None) -> Progress:
        now_s = time.monotonic()
        self._first = self._first or (now_s, done)
        since_s, since_done = self._first
        if expected is None or done <= since_done:
            return Progress(done, expected, None)
        left = max(0, expected - done) * (now_s - since_s) / (done - since_done)
        return Progress(done, expected, left)

    def _end(self, why: str) -> None:
        if self._process.poll() is None:
            self._ended_by = self._ended_by or f"{self._limits.subject}'s worker {why}"
        if self._reader.is_alive():  # otherwise another process may have the number now
            self._kill()

    def _kill(self) -> None:
        """Kill the process and its children; a child would keep the pipe open."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _explain(self, code: int) -> str:
        if code == -signal.SIGXCPU:
            return (
                f"{self._limits.subject} needs more than {self._limits.cpu_s} s of processor "
                f"time; {self._limits.advice}"
            )
        if code == -signal.SIGKILL:
            return (
                f"{self._limits.subject}'s worker was killed; the machine may have run out of "
                "memory"
            )
        end = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return (
            f"{self._limits.subject}'s worker was ended {end}; the file is damaged, or needs more "
            f"than {self._limits.memory_bytes >> 20} MiB of memory"
        )
