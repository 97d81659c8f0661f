"""Where compiled things are kept between runs."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """`$QLUMEN_CACHE/NAME`, else one in the user's cache; made when missing.

    None where it cannot be made or written to, such as in a read-only home: what would
    be cached is then made anew each time.
    """
    chosen = os.environ.get("QLUMEN_CACHE")
    root = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    base = Path(chosen) if chosen else (Path(root) if root else Path.home() / ".cache") / "qlumen"
    folder = base / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
