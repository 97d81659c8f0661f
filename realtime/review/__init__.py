"""Keeps the network's maps of a recording on disk, so other thresholds do not need the network."""
