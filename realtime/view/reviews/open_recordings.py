"""Keeps the open recordings: one for each browser, and no browser sees another's."""

import os
import shutil
import tempfile
import threading
from itertools import islice
from pathlib import Path

import psutil
from natsort import natsorted

from qlumen.errors import RefusedError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.reviews.job import Recording, Slots
from qlumen.realtime.view.security.sessions import Session, Sessions
from qlumen.system.closing import Closing
from qlumen.system.locations import printable
from qlumen.system.threads import start

NETWORKS_AT_ONCE, EXPORTS_AT_ONCE = 1, 2
"""Further requests wait, because live video also needs the processor."""
PREFIX = "qlumen-recordings-"
MAX_OPEN = 16
"""Each recording takes space on the disk."""
SWEEP_S = 20.0
MAX_NAME_CHARACTERS = 120


class OpenRecordings(Closing):
    """Holds the recording of each session until it opens another one or ends, or until `close`.

    Threads may share it. No other part of the page serves files from these folders.
    """

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings, self._sessions = settings, sessions
        remove_leftovers()
        self._root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._slots = Slots(
            threading.Semaphore(NETWORKS_AT_ONCE), threading.Semaphore(EXPORTS_AT_ONCE)
        )
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Session, Recording]] = {}
        self._closing = threading.Event()
        self._sweeper = start("sweep", self._sweep)

    def new_folder(self) -> Path:
        """Make an empty folder that only this user of the computer can read."""
        return Path(tempfile.mkdtemp(dir=self._root))

    def open(self, session: Session, file: Path, name: str, folder: Path) -> None:
        """Open a recording in its own `folder`, and close what the session had open.

        Raises:
            RefusedError: `MAX_OPEN` other recordings are open.
        """
        with self._lock:
            others = len(self._open.keys() - {session.id})
        if others >= MAX_OPEN:
            raise RefusedError(f"{others} recordings are open already; try again later")
        recording = Recording(file, name, folder, self._settings, self._slots)
        with self._lock:
            before = self._open.pop(session.id, None)
            self._open[session.id] = session, recording
        if before:
            before[1].close()

    def find(self, session: Session) -> Recording | None:
        """Return what the session has open, or None."""
        with self._lock:
            found = self._open.get(session.id)
        return found[1] if found else None

    def leave(self, session: Session) -> None:
        """Close and remove what the session has open."""
        with self._lock:
            found = self._open.pop(session.id, None)
        if found:
            found[1].close()

    def close(self) -> None:
        self._closing.set()
        self._sweeper.join()
        for session, _ in list(self._open.values()):
            self.leave(session)
        shutil.rmtree(self._root, ignore_errors=True)

    def _sweep(self) -> None:
        while not self._closing.wait(SWEEP_S):
            self.remove_ended()

    def remove_ended(self) -> None:
        """Close the recordings of sessions that have ended."""
        with self._lock:
            known = [session for session, _ in self._open.values()]
        for session in known:
            if not self._sessions.lives(session):
                self.leave(session)


def remove_leftovers() -> None:
    """Remove the folders that killed pages of this user left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        own = os.name != "posix" or folder.lstat().st_uid == os.getuid()
        mine = own and not folder.is_symlink()
        if mine and number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def printable_name(name: str) -> str:
    """Return the last part of a browser's file name, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char for char in last if char.isprintable()).strip()
    return shown[-MAX_NAME_CHARACTERS:] or "recording"


MAX_LISTED = 500


def list_files(folder: Path) -> list[str]:
    """List at most `MAX_LISTED` files in and below the folder by relative name, in natural order.

    Names are as in `printable`. Hidden files, and links that lead out of the folder, are left out.
    """
    names = (_relative_name(folder, path) for path in folder.rglob("*"))
    return natsorted(islice((printable(name) for name in names if name), MAX_LISTED))


def pick_file(folder: Path, name: str) -> Path:
    """Return the file of this name; raise RefusedError unless `list_files` may list it."""
    if "\0" not in name and name and _relative_name(folder, folder / name) == name:
        return (folder / name).resolve()
    for path in folder.rglob("*"):
        own = _relative_name(folder, path)
        if own and printable(own) == name:
            return path.resolve()
    raise RefusedError("the folder has no such recording; choose one from the list")


def _relative_name(folder: Path, path: Path) -> str:
    """Return the name relative to the folder; empty for a file that must stay hidden."""
    try:
        relative = path.relative_to(folder)
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, ValueError):
        return ""
    hidden = any(part.startswith(".") for part in relative.parts)
    return relative.as_posix() if inside and not hidden and path.is_file() else ""
