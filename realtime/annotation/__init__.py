"""Makes outlines of all frames of a clip from the outlines of a few."""
