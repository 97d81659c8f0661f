"""Serves the page in the browser: live video, recordings, and who may see them."""
