"""Where compiled things are kept between runs."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """`$QLUMEN_CACHE/NAME`, else one in the user's cache; made when missing."""
    chosen = os.environ.get("QLUMEN_CACHE")
    root = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    base = Path(chosen) if chosen else (Path(root) if root else Path.home() / ".cache") / "qlumen"
    folder = base / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
