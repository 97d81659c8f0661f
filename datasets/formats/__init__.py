"""Reads and writes annotations as other tools keep them."""
