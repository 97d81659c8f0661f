"""The settings: one file a subject, and how a file and `--set` change them."""
