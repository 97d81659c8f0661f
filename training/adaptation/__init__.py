"""Fits a network to a hospital from few outlines, and makes masks of frames without them."""
