"""Judges thousands of recordings on a Ray cluster and keeps the results as tables."""
