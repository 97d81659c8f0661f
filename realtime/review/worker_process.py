"""A worker seen from outside: its progress, its end, and how to end it."""

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
MAX_FILE_BYTES = 64 << 30
"""Of what a worker writes: maps and pictures of hours."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Attributes:
    done, expected: frames; `expected` None where the recording does not say.
    seconds_left: at the rate so far; None while it cannot be told.
    """

    done: int
    expected: int | None
    seconds_left: float | None


class Running:
    """A task in a process of its own, which is ended when it makes no progress.

    Args:
        task: one of `worker.TASKS`.
        arguments: for it, as JSON takes them.
        limits: of the process.

    `result` waits. The methods may be called from several threads.
    """

    def __init__(self, task: str, arguments: dict[str, Any], limits: Limits) -> None:
        self._limits = limits
        self._progress = Progress(0, None, None)
        self._first: tuple[float, int] | None = None
        self._last_s = time.monotonic()
        self._said: dict[str, Any] = {}
        self._ended_by = ""
        job = Job(task, arguments, limits.memory_bytes, limits.cpu_s, MAX_FILE_BYTES)
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
    def progress(self) -> Progress:
        return self._progress

    @property
    def running(self) -> bool:
        """Whether it works; also ends one that made no progress for too long."""
        if self._reader.is_alive() and time.monotonic() - self._last_s > self._limits.stall_s:
            self._end(f"made no progress for {self._limits.stall_s:g} s and was ended")
        elif self._reader.is_alive() and self._process.poll() is not None:
            self._kill()  # what libraries started in it lives on, and keeps the pipe open
        return self._reader.is_alive()

    def result(self) -> Any:
        """Wait for the end, and return what the task did.

        Raises:
            WorkerError: it failed, was ended, or reached a limit; the message says which.
        """
        while self.running:
            self._reader.join(POLL_S)
        code = self._process.wait()
        self._reader.join()
        if "result" in self._said:
            return self._said["result"]
        raise WorkerError(self._ended_by or self._said.get("error") or self._explain(code))

    def cancel(self) -> None:
        """End it at once; `result` then raises."""
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
            said = json.loads(line)
            if "done" in said:
                self._progress = self._update(said["done"], said["expected"])
            else:
                self._said = said
                break
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
            self._ended_by = self._ended_by or f"the recording's worker {why}"
        if self._reader.is_alive():  # else its number may be another's by now
            self._kill()

    def _kill(self) -> None:
        """With what libraries started in it: a child would keep the pipe open."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _explain(self, code: int) -> str:
        if code in (-signal.SIGXCPU, -signal.SIGKILL) and self._limits.cpu_s:
            return (
                "the recording's worker was killed: it took more than its "
                f"{self._limits.cpu_s} s of processor time, or the machine ran out of memory"
            )
        return (
            f"the recording's worker ended by itself (code {code}); the file is damaged, or needs "
            f"more than {self._limits.memory_bytes >> 20} MiB of memory"
        )
