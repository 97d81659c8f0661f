"""Keeps compiled code in cache folders between runs."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from qlumen.kernels.cache_root import cache_root

KEPT_CONTENTS = 8
"""Number of folders of `content_folder` that are kept, by their last use."""


def cache_folder(name: str) -> Path | None:
    """Return the folder `name` in `cache_root()`, and make it if it is missing.

    None where it cannot be made or written to, such as in a read-only home. The content is then
    compiled again each time.
    """
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def content_folder(name: str, files: Sequence[Path]) -> Path | None:
    """Return a folder in `cache_folder(name)` for what is made from the content of these files.

    Other content has another folder, whatever the names and dates of the files. Folders that
    were not used for long are removed. None where `cache_folder` returns None.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    base = cache_folder(name)
    if base is None:
        return None
    folder = base / digest.hexdigest()[:32]
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        _prune(base)
    return folder if os.access(folder, os.W_OK) else None


def _prune(base: Path) -> None:
    folders = [entry for entry in base.iterdir() if entry.is_dir()]
    folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[KEPT_CONTENTS:]:
        shutil.rmtree(folder, ignore_errors=True)
