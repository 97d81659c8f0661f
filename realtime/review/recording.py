"""Opens the recording of a review and identifies it by its hash."""

import hashlib
import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from qlumen.networks.bundle import file_sha256
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sources.base import Source
from qlumen.realtime.sources.choose import open_source
from qlumen.realtime.sources.images import StillSource, image_files, is_still
from qlumen.realtime.sources.pages import has_pages
from qlumen.system.locations import printable, show_location

BYTES = "bytes:"
"""Marks a path that is not UTF-8, or has control characters; `%` stands before its bytes."""


def open_recording(location: str, settings: Settings) -> Source:
    """Open what a replay opens, or a single image. Raises as `open_source`."""
    single = is_still(location) and not has_pages(Path(location))
    return StillSource(Path(location)) if single else open_source(location, settings)


def stored_location(location: str) -> str:
    """Return what a review keeps of a recording's location: no URL that may hold a secret.

    A path becomes absolute. `read_location` reads it back.
    """
    if os.path.exists(location):  # noqa: PTH110 - no error for a name that is too long
        path = str(Path(location).absolute())
        return path if printable(path) == path else BYTES + quote_from_bytes(os.fsencode(path))
    return show_location(location)


def read_location(stored: str) -> str:
    """Return the location that `stored_location` keeps."""
    if stored.startswith(BYTES):
        return os.fsdecode(unquote_to_bytes(stored.removeprefix(BYTES)))
    return stored


def hash_recording(location: str) -> tuple[int | None, str | None]:
    """Return the size in bytes and the SHA-256 of a file; None and None without a file.

    A folder has the sum of its images' sizes and the hash of their `sha256sum` list.
    """
    path = Path(location.removeprefix("file://"))
    if path.is_file():
        return path.stat().st_size, file_sha256(path)
    if not path.is_dir():
        return None, None
    files = image_files(path)
    lines = "".join(f"{file_sha256(file)}  {file.name}\n" for file in files)
    size = sum(file.stat().st_size for file in files)
    return size, hashlib.sha256(os.fsencode(lines)).hexdigest()
