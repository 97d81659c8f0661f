"""Renders the built-in synthetic colon."""
