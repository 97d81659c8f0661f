"""Where a session's events go: its file while that can be written, and the terminal.

Whoever has something to tell must never wait for a disk or a terminal that hangs, so each
of the two has a thread and a queue.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue

from rich.console import Console

from qlumen.errors import SinkError
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.system.closing import Closing

TOLD = frozenset(
    {
        "ai_failed", "ai_off", "ai_running", "display_failed", "format", "recording_failed",
        "settings", "settings_refused", "signal_back", "signal_lost", "sink_attached",
        "sink_detached",
    }
)  # fmt: skip
"""Kinds of event that the terminal is told of, too."""
MAX_WAITING = 1000
LOOK_SECONDS = 0.01

Told = tuple[str, dict[str, object]]


class Journal(Closing):
    """Called with an event's kind and fields, by any thread; returns at once and never raises.
    Events beyond `MAX_WAITING` for a file that hangs are lost."""

    def __init__(self, events: EventsWriter | None, console: Console) -> None:
        self._events, self._console = events, console
        self._file = _Post("journal", self._write) if events else None
        self._terminal = _Post("terminal", self._print)

    @property
    def last_hash(self) -> str | None:
        """Of the newest line; None without a file."""
        return self._events.last_hash if self._events else None

    def __call__(self, kind: str, **fields: object) -> None:
        if self._file is not None:
            self._file.put((kind, fields))
        if kind in TOLD:
            self._terminal.put((kind, fields))

    def flush(self, timeout_s: float) -> None:
        """Return when all is written, or after `timeout_s`."""
        for post in (self._file, self._terminal):
            if post is not None:
                post.flush(timeout_s)

    def close(self) -> None:
        for post in (self._file, self._terminal):
            if post is not None:
                post.close()

    def _write(self, told: Told) -> None:
        kind, fields = told
        assert self._events is not None
        self._events.note(kind, **fields)

    def _print(self, told: Told) -> None:
        kind, fields = told
        text = ", ".join(f"{key} {value}" for key, value in fields.items())
        self._console.print(f"{kind}: {text}", highlight=False, markup=False, soft_wrap=True)


class _Post:
    """A queue, and a thread that handles what is in it until that fails."""

    def __init__(self, name: str, handle: Callable[[Told], None]) -> None:
        self._handle = handle
        self._waiting: Queue[Told | None] = Queue(MAX_WAITING)
        self._works = True
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, told: Told | None) -> None:
        with suppress(Full):
            self._waiting.put_nowait(told)

    def close(self) -> None:
        """End the thread when it has handled what waits."""
        self.put(None)

    def flush(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._works and self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)

    def _run(self) -> None:
        while self._works:
            told = self._waiting.get()
            if told is None:
                return
            try:
                self._handle(told)
            except (SinkError, OSError, ValueError, SystemExit):
                self._works = False  # rich answers a closed terminal with SystemExit
            self._waiting.task_done()
