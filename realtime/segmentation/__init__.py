"""Turns an image into findings, one image at a time."""
