"""Handles files, caches, threads and the terminal, without any video."""
