"""Writes the report as a PDF document."""
