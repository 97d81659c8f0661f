"""What an alarm does beside its mark: an event, a flash of the picture, and a program of the
operator's choice, such as a sound."""

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
    """Runs one program at a time; an alarm while it runs needs no second one.

    Args:
        note: writes an event: kind and fields.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._running: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def run(self, command: Sequence[str]) -> None:
        """Start the program and return at once; a failure becomes an event."""
        if command and not (self._thread and self._thread.is_alive()):
            self._thread = start("alarm", partial(self._run, command))

    def close(self) -> None:
        """End a program that still runs."""
        if (running := self._running) is not None:
            running.kill()

    def _run(self, command: Sequence[str]) -> None:
        quiet = subprocess.DEVNULL
        try:
            self._running = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
            code = self._running.wait(LIMIT_SECONDS)
            if code:
                self._note("alarm_command_failed", reason=f"exit code {code}")
        except subprocess.TimeoutExpired:
            self.close()
            self._note("alarm_command_failed", reason=f"took over {LIMIT_SECONDS:g} s")
        except OSError as error:
            self._note("alarm_command_failed", reason=str(error))
        finally:
            self._running = None


class Alarms(Closing):
    """Announces the alarm of each track once; to be called by one thread.

    Args:
        note: writes an event: kind and fields.
    """

    def __init__(self, note: Note) -> None:
        self._note, self._command = note, AlarmCommand(note)
        self._announced: set[int] = set()
        self._flash_until_ns = 0

    def __call__(self, tracks: Sequence[Track], settings: AlarmSettings) -> bool:
        """Announce alarms that are new; return whether the picture is to flash now."""
        now_ns = time.monotonic_ns()
        for track in tracks:
            if track.alarm and track.number not in self._announced:
                self._announced.add(track.number)
                self._flash_until_ns = now_ns + round(settings.flash_s * NS_PER_S)
                self._note("alarm", track=track.number)
                self._command.run(settings.command)
        return now_ns < self._flash_until_ns

    def close(self) -> None:
        """End the program of an alarm, if one still runs."""
        self._command.close()
