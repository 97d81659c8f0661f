"""Findings over time: motion, smoothing and tracks."""
