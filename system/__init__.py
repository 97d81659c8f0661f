"""The machine below: files, caches, processes and the terminal. Nothing of video."""
