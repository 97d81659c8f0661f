"""Exit codes of the command line, besides those that errors carry, and the way out."""

import os
import sys
import threading

INTERRUPTED = 130
"""After Ctrl-C, by the shell's convention of 128 + signal number."""


def leave(code: int) -> int:
    """The exit code; where a thread hangs in foreign code, end here: the interpreter would take
    apart under its feet what it uses, and crash."""
    if any(thread.name.startswith("qlumen-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
