"""Images and masks on disk: pairs, splits, and images without a lesion."""
