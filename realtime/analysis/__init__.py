"""Judges frames in one way for live video, replay, review, report and evaluation."""
