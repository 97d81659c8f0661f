"""Bottlenecks compared by training each of them."""
