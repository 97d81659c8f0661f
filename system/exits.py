"""Ends the command line; defines the exit codes that no error carries."""

import os
import sys

from qlumen.system.threads import hung_threads

INTERRUPTED = 130
"""Exit code after Ctrl-C, by the shell's convention of 128 + signal number."""
PATIENCE_SECONDS = 0.5
"""Wait for threads that are about to end."""


def leave(code: int) -> int:
    """Return the exit code, or end the process with it if a thread hangs in foreign code.

    At a normal end the interpreter would free memory that such a thread still uses, and crash.
    """
    if hung_threads(PATIENCE_SECONDS):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
