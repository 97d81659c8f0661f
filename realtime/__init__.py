"""Reads, analyses, draws and writes video."""
