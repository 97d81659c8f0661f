"""Exit codes of the command line, besides those that errors carry, and the way out."""

import os
import sys

from qlumen.system.threads import hung_threads

INTERRUPTED = 130
"""After Ctrl-C, by the shell's convention of 128 + signal number."""
PATIENCE_SECONDS = 0.5
"""For threads that are about to end."""


def leave(code: int) -> int:
    """Return the exit code, or end the process with it where a thread hangs in foreign code.

    At an orderly end the interpreter would free what such a thread still uses, and crash.
    """
    if hung_threads(PATIENCE_SECONDS):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
