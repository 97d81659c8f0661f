"""Holds the settings, and reads them from a file and from `--set`."""
