"""Reads networks of other makers, one form a file, and fits them into bundles."""
