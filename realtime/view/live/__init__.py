"""Shows a live session on the page."""
