"""Where the user's caches lie. It is here because kernels import nothing of qlumen's."""

import os
import sys
from pathlib import Path


def cache_root() -> Path:
    """`$QLUMEN_CACHE`, else the folder `qlumen` in the user's cache by the system's convention:

    Linux: `$XDG_CACHE_HOME` or `~/.cache`; macOS: `~/Library/Caches`; Windows: `%LOCALAPPDATA%`.
    """
    if chosen := os.environ.get("QLUMEN_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qlumen"
    if sys.platform == "win32":
        named, usual = "LOCALAPPDATA", Path("AppData", "Local")
    else:
        named, usual = "XDG_CACHE_HOME", Path(".cache")
    return Path(os.environ.get(named) or Path.home() / usual) / "qlumen"
