"""Finds the recordings of an archive and brings them to the worker that judges them."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import psutil
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
SCRATCH = "qlumen-archive-"


@dataclass(frozen=True, slots=True)
class Recording:
    """Names one recording.

    Attributes:
        location: what fsspec opens.
        name: path or address, without secrets.
        bytes: size of the file.
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
        SourceError: a source cannot be read.
        UsageError: there is no recording, or two addresses look the same without their secrets.
    """
    found = {one.location: one for source in sources for one in _expand(source)}
    if not found:
        raise UsageError(
            "no recording was found; from a folder, files with these endings are taken: "
            + " ".join(SUFFIXES)
        )
    (name, count), *_ = Counter(one.name for one in found.values()).most_common(1)
    if count > 1:
        raise UsageError(f"{count} addresses are {name} without what is hidden; give one of them")
    return sorted(found.values(), key=lambda one: (-one.bytes, one.name))


def _expand(source: str) -> Iterator[Recording]:
    if source.endswith(LIST) and "://" not in source:
        try:
            lines = Path(source).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"the list {printable(source)} cannot be read: {error}") from error
        for line in filter(None, map(str.strip, lines)):
            yield from _look(line)
    else:
        yield from _look(source)


def _look(source: str) -> list[Recording]:
    try:
        fs, path = fsspec.url_to_fs(source)
        single = source.startswith(("http://", "https://")) or not MAGIC.intersection(path)
        if not single and not fs.exists(path):
            files = {one: fs.info(one) for one in fs.glob(path)}
        elif not source.startswith("http") and fs.isdir(path):
            files = {
                one: facts
                for one, facts in fs.find(path, detail=True).items()
                if Path(one).suffix.lower() in SUFFIXES and not Path(one).name.startswith(".")
            }
        else:
            files = {path: fs.info(path)}
    except ImportError as error:
        raise MissingExtraError(f"{show_location(source)}: {error}") from error
    except Exception as error:
        text = without_secrets(str(error) or type(error).__name__, source)
        raise SourceError(f"{show_location(source)} cannot be read: {text}") from error
    local = isinstance(fs, LocalFileSystem)
    return [
        Recording(
            one if local else fs.unstrip_protocol(one),
            _name(one if local else fs.unstrip_protocol(one)),
            facts.get("size") or 0,
            str(facts.get("mtime") or facts.get("ETag") or facts.get("LastModified") or ""),
        )
        for one, facts in files.items()
        if facts.get("type") != "directory"
    ]


def _name(location: str) -> str:
    """Show a location without user, password and query."""
    if "://" not in location:
        return printable(location)
    parts = urlsplit(location)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


@contextmanager
def fetched(recording: Recording) -> Iterator[Path]:
    """Yield a local file: the recording itself, or a copy that is removed afterwards.

    Raises:
        SourceError: the recording cannot be read.
    """
    if "://" not in recording.location:
        if not os.access(recording.location, os.R_OK):
            raise SourceError(f"{recording.name} is gone, or there is no permission to read it")
        yield Path(recording.location)
        return
    base = Path(tempfile.gettempdir())
    for folder in base.glob(f"{SCRATCH}*"):  # of workers that were killed
        if not psutil.pid_exists(int(folder.name.removeprefix(SCRATCH))):
            shutil.rmtree(folder, ignore_errors=True)
    scratch = base / f"{SCRATCH}{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        path = scratch / Path(urlsplit(recording.location).path).name
        try:
            fs, remote = fsspec.url_to_fs(recording.location)
            fs.get_file(remote, str(path))
        except Exception as error:
            text = without_secrets(str(error) or type(error).__name__, recording.location)
            raise SourceError(f"{recording.name} cannot be fetched: {text}") from error
        yield path
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
