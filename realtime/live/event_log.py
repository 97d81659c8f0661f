"""Where a session's events go: its file while that can be written, and the terminal.

Nothing that writes an event may wait for a disk or a terminal that hangs, so each of the two
has a thread and a queue.
"""

import time
from contextlib import suppress
from queue import Full, Queue

from rich.console import Console

from qlumen.errors import SinkError
from qlumen.realtime.sinks.events import EventsWriter, Note
from qlumen.system.closing import Closing
from qlumen.system.threads import start

PRINTED = frozenset(
    {
        "ai_failed", "ai_off", "ai_running", "display_failed", "format", "recording_failed",
        "settings", "settings_refused", "signal_back", "signal_lost", "sink_attached",
        "sink_detached",
    }
)  # fmt: skip
"""Kinds of event that go to the terminal, too."""
MAX_WAITING = 1000
LOOK_SECONDS = 0.01

Event = tuple[str, dict[str, object]]


class EventLog(Closing):
    """Called with an event's kind and fields, by any thread; returns at once and never raises.
    Events beyond `MAX_WAITING` for a file that hangs are lost.

    Attributes:
        file: what writes the file; None without one.
    """

    def __init__(self, file: EventsWriter | None, console: Console) -> None:
        self.file, self._console = file, console
        self._to_terminal = _Post("terminal", self._print)
        self._to_file = _Post("event log", file.note) if file else None
        self._posts = [post for post in (self._to_file, self._to_terminal) if post]

    @property
    def last_hash(self) -> str | None:
        """Of the newest line; None without a file."""
        return self.file.last_hash if self.file else None

    def __call__(self, kind: str, **fields: object) -> None:
        if self._to_file is not None:
            self._to_file.put((kind, fields))
        if kind in PRINTED:
            self._to_terminal.put((kind, fields))

    def flush(self, timeout_s: float) -> None:
        """Return when all is written, or after `timeout_s` for each of the two."""
        for post in self._posts:
            post.flush(timeout_s)

    def close(self) -> None:
        for post in self._posts:
            post.close()

    def _print(self, kind: str, /, **fields: object) -> None:
        text = ", ".join(f"{key} {value}" for key, value in fields.items())
        self._console.print(f"{kind}: {text}", highlight=False, markup=False, soft_wrap=True)


class _Post:
    """A queue, and a thread that handles what is in it until that fails."""

    def __init__(self, name: str, handle: Note) -> None:
        self._handle = handle
        self._waiting: Queue[Event | None] = Queue(MAX_WAITING)
        self._works = True
        start(name, self._run)

    def put(self, event: Event | None) -> None:
        with suppress(Full):
            self._waiting.put_nowait(event)

    def close(self) -> None:
        """End the thread when it has handled what waits."""
        self.put(None)

    def flush(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._works and self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)

    def _run(self) -> None:
        while self._works:
            event = self._waiting.get()
            if event is None:
                return
            kind, fields = event
            try:
                self._handle(kind, **fields)
            except (SinkError, OSError, ValueError, SystemExit):
                self._works = False  # rich answers a closed terminal with SystemExit
            self._waiting.task_done()
