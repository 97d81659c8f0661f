"""Exit codes of the command line, besides those that errors carry."""

INTERRUPTED = 130
"""After Ctrl-C, by the shell's convention of 128 + signal number."""
