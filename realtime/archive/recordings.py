"""Finds the recordings of an archive and brings them to the worker that judges them."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from aiohttp import ClientTimeout
from fsspec.implementations.local import LocalFileSystem

from qlumen.errors import MissingExtraError, SourceError, UsageError
from qlumen.system.locations import printable, show_location, without_secrets

SUFFIXES = (
    ".asf", ".avi", ".dv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
"""Endings of the files that are taken from a folder."""
LIST = ".txt"
"""Ending of a file that names a recording in each line."""
MAGIC = frozenset("*?[")
WEB = ("http://", "https://")
STALL_S = 60.0
"""A web server may be silent for this time; a download has no other limit."""
OWN = re.compile(r"/(videos/version=\w{12}|\.work/\w{32})/[^/]*$")
"""Matches the videos that an archive writes, also where its folder lies in a source."""
MOST_LETTERS = 100


@dataclass(frozen=True, slots=True)
class Recording:
    """Names one recording.

    Attributes:
        location: what fsspec opens.
        name: path or address, without secrets.
        bytes: size of the file; 0 if a server does not tell it.
        stamp: its time of change or its tag; another one means that the file may be another.
    """

    location: str
    name: str
    bytes: int
    stamp: str


def find_recordings(sources: Iterable[str]) -> list[Recording]:
    """Find the recordings of folders, lists, globs and addresses, the largest first.

    A location that is given twice counts once.

    Raises:
        MissingExtraError: the library for an address is missing.
        SourceError: a source, or a folder in it, cannot be read.
        UsageError: there is no recording, or two addresses look the same without their secrets.
    """
    lines = (line for source in sources for line in _lines(source))
    found = {one.location: one for line in lines for one in _look(line)}
    if not found:
        raise UsageError(
            "no recording was found; from a folder, files with these endings are taken: "
            + " ".join(SUFFIXES)
        )
    (name, count), *_ = Counter(one.name for one in found.values()).most_common(1)
    if count > 1:
        raise UsageError(f"{count} addresses are {name} without what is hidden; give one of them")
    return sorted(found.values(), key=lambda one: (-one.bytes, one.name))


def fetch(recording: Recording, folder: Path) -> Path:
    """Return the recording as a local file; an address is copied to `folder` first.

    Raises:
        SourceError: the recording cannot be read.
    """
    if "://" not in recording.location:
        if not os.access(recording.location, os.R_OK):
            raise SourceError(f"{recording.name} is gone, or there is no permission to read it")
        return Path(recording.location)
    path = folder / Path(recording.name).name[-MOST_LETTERS:]
    try:
        fs, remote = _open(recording.location)
        fs.get_file(remote, str(path))
    except Exception as error:
        text = without_secrets(str(error) or type(error).__name__, recording.location)
        raise SourceError(f"{recording.name} cannot be fetched: {text}") from error
    return path


def _lines(source: str) -> list[str]:
    if not source.endswith(LIST) or "://" in source:
        return [source]
    try:
        text = Path(source).read_text("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"the list {printable(source)} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _open(location: str) -> tuple[Any, str]:
    timeout = ClientTimeout(total=None, sock_read=STALL_S)
    options = {"client_kwargs": {"timeout": timeout}} if location.startswith(WEB) else {}
    fs, path = fsspec.url_to_fs(location, **options)
    return fs, path


def _look(source: str) -> Iterator[Recording]:
    try:
        fs, path = _open(source)
        found = {path: fs.info(path)} if source.startswith(WEB) else _find(fs, path)
    except ImportError as error:
        raise MissingExtraError(f"{show_location(source)}: {error}") from error
    except Exception as error:
        text = without_secrets(str(error) or type(error).__name__, source)
        raise SourceError(f"{show_location(source)} cannot be read: {text}") from error
    for one, facts in found.items():
        if facts.get("type", "file") == "file":
            location = one if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(one)
            stamp = facts.get("mtime") or facts.get("ETag") or facts.get("LastModified")
            yield Recording(location, _name(location), facts.get("size") or 0, str(stamp or ""))


def _find(fs: Any, path: str) -> dict[str, dict[str, Any]]:
    """Return what fsspec knows of the files that a path or pattern means."""
    local = isinstance(fs, LocalFileSystem)
    if MAGIC.intersection(path) and not fs.exists(path):
        found = fs.glob(path, detail=True)
    elif fs.isdir(path):
        names = dict.fromkeys(_walk(path)) if local else fs.find(path, detail=True)
        found = {
            name: facts
            for name, facts in names.items()
            if Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")
        }
    else:
        return {path: fs.info(path)}
    found = {name: facts for name, facts in found.items() if not OWN.search(name)}
    if local:  # a link has the size and time of its target; one to nothing is set aside later
        return {name: fs.info(name) if Path(name).exists() else {} for name in found}
    return found


def _walk(folder: str) -> Iterator[str]:
    """Yield all files below a folder, also behind links; no folder twice, and nothing hidden."""
    seen, left = {Path(folder).resolve()}, [Path(folder)]
    while left:
        for path in sorted(left.pop().iterdir()):
            if path.name.startswith("."):
                continue
            if not path.is_dir():
                yield str(path)
            elif (real := path.resolve()) not in seen:
                seen.add(real)
                left.append(path)


def _name(location: str) -> str:
    """Show a location without user, password and query."""
    scheme, mark, rest = location.partition("://")
    if not mark:
        return printable(location)
    if location.startswith(WEB):
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")
