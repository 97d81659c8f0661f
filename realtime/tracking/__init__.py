"""Follows findings over time: motion, smoothing and tracks."""
