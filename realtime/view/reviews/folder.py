"""The recordings in a configured folder: what can be picked, and nothing beyond it."""

from itertools import islice
from pathlib import Path

from natsort import natsorted

from qlumen.errors import RefusedError

MAX_LISTED = 500


def listed(folder: Path) -> list[str]:
    """Files in it and below, as names relative to it, in natural order, `MAX_LISTED` at most.
    Hidden ones, and links that lead out of it, are left out."""
    names = (_name(folder, path) for path in folder.rglob("*"))
    return natsorted(islice((name for name in names if name), MAX_LISTED))


def picked(folder: Path, name: str) -> Path:
    """The file of this name. Raises RefusedError unless `listed` may name it."""
    if "\0" not in name and name and _name(folder, folder / name) == name:
        return (folder / name).resolve()
    raise RefusedError("there is no such recording in the folder")


def _name(folder: Path, path: Path) -> str:
    """Relative to the folder; empty for what is not to be seen."""
    try:
        relative = path.relative_to(folder)
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, ValueError):
        return ""
    hidden = any(part.startswith(".") for part in relative.parts)
    return relative.as_posix() if inside and not hidden and path.is_file() else ""
