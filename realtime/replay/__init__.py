"""Replays a recording from its first frame to its last, and leaves no frame out."""
