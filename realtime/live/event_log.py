"""Writes the events of a session to its file and to the terminal.

The caller must not wait for a disk or a terminal that hangs, so each has a thread and a queue.
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
"""Kinds of event that also go to the terminal."""
MAX_WAITING = 1000
LOOK_SECONDS = 0.01

Event = tuple[str, dict[str, object]]


class EventLog(Closing):
    """Takes events from any thread. A call never waits and never raises.

    If the file or the terminal hangs, events beyond `MAX_WAITING` are lost for it.

    Attributes:
        file: writer of the events file; None without one.
    """

    def __init__(self, file: EventsWriter | None, console: Console) -> None:
        self.file, self._console = file, console
        self._to_terminal = _Post("terminal", self._print)
        self._to_file = _Post("event log", file.note) if file else None
        self._posts = [post for post in (self._to_file, self._to_terminal) if post]

    @property
    def last_hash(self) -> str | None:
        """Return the hash of the newest line; None without a file."""
        return self.file.last_hash if self.file else None

    def __call__(self, kind: str, **fields: object) -> None:
        if self._to_file is not None:
            self._to_file.put((kind, fields))
        if kind in PRINTED:
            self._to_terminal.put((kind, fields))

    def flush(self, timeout_s: float) -> None:
        """Wait until all is written, at most `timeout_s` for each of the two."""
        for post in self._posts:
            post.flush(timeout_s)

    def close(self) -> None:
        for post in self._posts:
            post.close()

    def _print(self, kind: str, /, **fields: object) -> None:
        text = ", ".join(f"{key} {value}" for key, value in fields.items())
        self._console.print(f"{kind}: {text}", highlight=False, markup=False, soft_wrap=True)


class _Post:
    """Runs a thread that handles the events of a queue until that fails."""

    def __init__(self, name: str, handle: Note) -> None:
        self._handle = handle
        self._waiting: Queue[Event | None] = Queue(MAX_WAITING)
        self._works = True
        start(name, self._run)

    def put(self, event: Event | None) -> None:
        with suppress(Full):
            self._waiting.put_nowait(event)

    def close(self) -> None:
        """End the thread after it has handled the waiting events."""
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
                self._works = False  # rich raises SystemExit for a closed terminal
            self._waiting.task_done()
