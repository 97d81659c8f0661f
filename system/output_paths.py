"""Checks the input and output paths of a command before work starts."""

from collections.abc import Sequence
from pathlib import Path

import click

from qlumen.errors import UsageError

PATH = click.Path(path_type=Path)
"""Type of an option that is a path."""

VIDEO_SUFFIXES = (".mp4", ".m4v")


def check_paths(
    inputs: Sequence[Path],
    files: Sequence[tuple[str, Path]],
    folders: Sequence[tuple[str, Path]],
) -> None:
    """Raise UsageError if an output cannot be written here, or if it is an input.

    Files are compared by identity: a link counts as its target. A file that exists in an input
    folder is also an input.

    Args:
        files, folders: outputs, each with the name of its option.
    """
    named = [*files, *folders]
    for index, (name, path) in enumerate(named):
        if not path.absolute().parent.is_dir():
            raise UsageError(f"{name} {path}: there is no folder {path.parent}; create it first")
        for given in inputs:
            if _same(path, given) or (given.is_dir() and _lies_in(path, given)):
                raise UsageError(f"{name} {path} is the input itself; choose another name")
        for other, earlier in named[:index]:
            if _same(path, earlier):
                raise UsageError(f"{name} and {other} are both {path}; choose another name")
    for name, path in files:
        if path.is_dir():
            raise UsageError(f"{name} {path} is a folder; give the name of a file")
    for name, path in folders:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{name} {path} is a file; give the name of a folder")


def _same(a: Path, b: Path) -> bool:
    if a.exists() and b.exists():
        special = not (a.is_file() or a.is_dir())
        return not special and a.samefile(b)
    return a.resolve() == b.resolve()


def _lies_in(path: Path, folder: Path) -> bool:
    return path.exists() and path.resolve().parent == folder.resolve()
