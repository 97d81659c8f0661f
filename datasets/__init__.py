"""Reads images and masks from disk: pairs, splits, and images without a lesion."""
