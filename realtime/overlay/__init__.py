"""Draws findings and the status on a frame."""
