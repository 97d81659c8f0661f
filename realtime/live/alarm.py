"""What an alarm does beside its mark: a program of the operator's choice, such as a sound."""

import subprocess
import threading
from collections.abc import Callable, Sequence

from qlumen.system.closing import Closing

LIMIT_SECONDS = 10.0


class AlarmCommand(Closing):
    """Runs one program at a time; an alarm while it runs needs no second one.

    Args:
        note: writes an event: kind and fields.
    """

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note
        self._running: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()

    def run(self, command: Sequence[str]) -> None:
        """Start the program and return at once; a failure becomes an event."""
        if command and self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, args=(command,), name="alarm", daemon=True).start()

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
            self._busy.release()
