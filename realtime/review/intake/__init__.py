"""Checks the kind, the size and the length of a file before it is read."""
