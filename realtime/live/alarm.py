"""Announces alarms by an event, a flash of the frame and a program that the operator chooses."""

import subprocess
import threading
import time
from collections.abc import Sequence
from functools import partial

from qlumen.realtime.config.live import AlarmSettings
from qlumen.realtime.frames import Track
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.sinks.events import Note
from qlumen.system.closing import Closing
from qlumen.system.threads import start

LIMIT_SECONDS = 10.0


class AlarmCommand(Closing):
    """Runs one program at a time. An alarm while it runs starts no second one."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._lock, self._closed = threading.Lock(), False
        self._running: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def run(self, command: Sequence[str]) -> None:
        """Start the program and return immediately. A failure becomes an event."""
        if command and not (self._thread and self._thread.is_alive()):
            self._thread = start("alarm", partial(self._run, command))

    def close(self) -> None:
        """Kill the program if it still runs; none starts afterwards."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.kill()

    def _run(self, command: Sequence[str]) -> None:
        quiet = subprocess.DEVNULL
        try:
            with self._lock:
                if self._closed:
                    return
                running = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
                self._running = running
            code = running.wait(LIMIT_SECONDS)
            if code:
                self._note("alarm_command_failed", reason=f"exit code {code}")
        except subprocess.TimeoutExpired:
            running.kill()
            self._note("alarm_command_failed", reason=f"took over {LIMIT_SECONDS:g} s")
        except OSError as error:
            self._note("alarm_command_failed", reason=str(error))
        finally:
            with self._lock:
                self._running = None


class Alarms(Closing):
    """Announces the alarm of each track once. Only one thread may call it."""

    def __init__(self, note: Note) -> None:
        self._note, self._command = note, AlarmCommand(note)
        self._announced: set[int] = set()
        self._flash_until_ns = 0

    def __call__(self, tracks: Sequence[Track], settings: AlarmSettings) -> bool:
        """Announce new alarms. Return whether the frame must flash now."""
        now_ns = time.monotonic_ns()
        for track in tracks:
            if track.alarm and track.number not in self._announced:
                self._announced.add(track.number)
                self._flash_until_ns = now_ns + round(settings.flash_s * NS_PER_S)
                self._note("alarm", track=track.number)
                self._command.run(settings.command)
        return now_ns < self._flash_until_ns

    def close(self) -> None:
        self._command.close()
