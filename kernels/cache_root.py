"""Finds the user's cache folder, here because kernels import nothing else of qlumen."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_root() -> Path:
    """Return `$QLUMEN_CACHE`, else the folder `qlumen` in the system's cache folder of the user."""
    chosen = os.environ.get("QLUMEN_CACHE")
    return Path(chosen) if chosen else user_cache_path("qlumen", appauthor=False, opinion=False)
