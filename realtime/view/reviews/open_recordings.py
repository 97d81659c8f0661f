"""Which browser has which recording open: one each, and none that another may see."""

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
from qlumen.realtime.view.reviews.job import Recording, Turns
from qlumen.realtime.view.security.sessions import Session, Sessions
from qlumen.system.closing import Closing
from qlumen.system.threads import start

NETWORKS_AT_ONCE, EXPORTS_AT_ONCE = 1, 2
"""More wait for their turn: live video needs the processor, too."""
PREFIX = "qlumen-recordings-"
MAX_OPEN = 16
"""Each takes room on the disk."""
SWEEP_S = 20.0
MAX_NAME_CHARACTERS = 120


class OpenRecordings(Closing):
    """Threads may share it. What a session opened is removed when it opens another one, when
    it ends, and at `close`. The folders lie where nothing else of the page hands out files."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings, self._sessions = settings, sessions
        remove_left()
        self._root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._turns = Turns(
            threading.Semaphore(NETWORKS_AT_ONCE), threading.Semaphore(EXPORTS_AT_ONCE)
        )
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Session, Recording]] = {}
        self._closing = threading.Event()
        self._sweeper = start("sweep", self._sweep)

    def new_folder(self) -> Path:
        """An empty one for what comes, only for this user of the computer."""
        return Path(tempfile.mkdtemp(dir=self._root))

    def open(self, session: Session, file: Path, name: str, folder: Path) -> None:
        """Begin with a recording; `folder` is its own. What the session had open is closed.

        Raises:
            RefusedError: `MAX_OPEN` others are open.
        """
        with self._lock:
            others = len(self._open.keys() - {session.id})
        if others >= MAX_OPEN:
            raise RefusedError(f"{others} recordings are open here already; try again later")
        recording = Recording(file, printable_name(name), folder, self._settings, self._turns)
        with self._lock:
            before = self._open.pop(session.id, None)
            self._open[session.id] = session, recording
        if before:
            before[1].close()

    def of(self, session: Session) -> Recording | None:
        """What the session has open."""
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
        """Close what sessions that ended had open."""
        with self._lock:
            known = [session for session, _ in self._open.values()]
        for session in known:
            if not self._sessions.lives(session):
                self.leave(session)


def remove_left() -> None:
    """Remove what pages of this user that were killed could not remove themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        mine = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
        if mine and number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def printable_name(name: str) -> str:
    """The last part of a file's name as a browser gave it, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char for char in last if char.isprintable()).strip()
    return shown[-MAX_NAME_CHARACTERS:] or "recording"


MAX_LISTED = 500


def list_files(folder: Path) -> list[str]:
    """Files in it and below, as names relative to it, in natural order, `MAX_LISTED` at most.
    Hidden ones, and links that lead out of it, are left out."""
    names = (_name(folder, path) for path in folder.rglob("*"))
    return natsorted(islice((name for name in names if name), MAX_LISTED))


def pick_file(folder: Path, name: str) -> Path:
    """The file of this name. Raises RefusedError unless `list_files` may name it."""
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
