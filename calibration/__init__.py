"""Fits a trained network to its use: thresholds, INT8, circuit tables and frame budget."""
