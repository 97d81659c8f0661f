"""Sends frames to video files, streams, windows, images and the log of events."""
