"""Opens the recording of a review and identifies it by its hash."""

import hashlib
from pathlib import Path

from qlumen.networks.bundle import file_sha256
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sources.base import Source
from qlumen.realtime.sources.choose import open_source
from qlumen.realtime.sources.images import StillSource, image_files, is_still


def open_recording(location: str, settings: Settings) -> Source:
    """Open what a replay opens, or a single image. Raises as `open_source`."""
    return StillSource(Path(location)) if is_still(location) else open_source(location, settings)


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
    return sum(file.stat().st_size for file in files), hashlib.sha256(lines.encode()).hexdigest()
