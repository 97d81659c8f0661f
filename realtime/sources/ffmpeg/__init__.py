"""Reads files, devices and addresses with FFmpeg."""
