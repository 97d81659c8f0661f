"""Measures how well a network finds polyps, on images with masks and without lesions."""
