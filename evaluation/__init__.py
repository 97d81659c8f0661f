"""How well a network finds polyps: measured on images with masks and without lesions."""
