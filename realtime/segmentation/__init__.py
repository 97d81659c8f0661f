"""From an image to findings, one image at a time."""
