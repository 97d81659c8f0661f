"""Compares bottlenecks by training a network with each of them."""
