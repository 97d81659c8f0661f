"""Defines the commands of the video path: options, signals, and what runs. Nothing imports it."""
