"""The report as a PDF document."""
