"""The video path."""
