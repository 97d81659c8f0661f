"""The settings: one file a section, and how a file and `--set` change them."""
