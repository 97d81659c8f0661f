"""Keeps the folder of an archive: its versions, and what became of each recording."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qlumen.errors import UsageError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.archive.judge import WORK, Outcome
from qlumen.realtime.archive.recordings import Recording
from qlumen.realtime.archive.tables import is_complete
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sinks.base import make_folder
from qlumen.system.files import write_json

FORMAT = 1
MARK = "archive.json"
"""File that makes a folder an archive."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Says what became of a recording; with an `error` it is set aside."""

    bytes: int
    stamp: str
    sha256: str
    error: str
    log: str


class ArchiveFolder:
    """Knows one version of the results: those of one bundle, settings and software.

    Attributes:
        version: name of the version in all paths.
        entries: what became of each recording, by its name.
    """

    def __init__(self, output: Path, bundle: Bundle, settings: Settings) -> None:
        facts = {
            "bundle": bundle.manifest.name,
            "bundle_sha256": bundle.sha256,
            "settings_sha256": settings.sha256(),
            "qlumen": version("qlumen"),
        }
        self.output = output
        self.version = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        self._facts = facts
        self._about = output / "versions" / self.version
        manifest = self._about / "manifest.json"
        check_archive(output, new=True)
        stored = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
        self.entries = {name: Entry(**one) for name, one in stored.items()}

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs away while the block runs, and clear what a killed run left.

        Raises:
            SinkError: the folder cannot be written.
            UsageError: another run writes to it.
        """
        import fcntl

        make_folder(self.output)
        with (self.output / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another run writes to {self.output}; wait until it ends"
                ) from error
            shutil.rmtree(self.output / WORK, ignore_errors=True)
            self._about.mkdir(parents=True, exist_ok=True)
            write_json(self.output / MARK, {"format": FORMAT})
            write_json(self._about / "version.json", self._facts)
            yield

    def left(
        self, recordings: Sequence[Recording], extras: Sequence[str] = (), *, retry: bool = False
    ) -> list[Recording]:
        """Return the recordings that lack rows or extras; `retry`: also those set aside."""
        return [one for one in recordings if not self._is_done(one, extras, retry)]

    def note(self, recording: Recording, outcome: Outcome) -> None:
        """Remember what became of a recording, until `save`."""
        self.entries[recording.name] = Entry(
            recording.bytes, recording.stamp, outcome.sha256, outcome.error, outcome.log
        )

    def save(self) -> None:
        """Write the manifest, whole or not at all."""
        entries = {name: asdict(self.entries[name]) for name in sorted(self.entries)}
        write_json(self._about / "manifest.json", entries)

    def _is_done(self, recording: Recording, extras: Sequence[str], retry: bool) -> bool:
        entry = self.entries.get(recording.name)
        if entry is None or (entry.bytes, entry.stamp) != (recording.bytes, recording.stamp):
            return False
        if entry.error:
            return not retry
        return is_complete(self.output, self.version, entry.sha256, extras)


def check_archive(output: Path, *, new: bool = False) -> None:
    """Raise UsageError unless the folder is an archive that this software reads.

    Args:
        new: whether an empty folder, or none, will do.
    """
    mark = output / MARK
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; give the name of a folder")
    if not mark.exists():
        if new and (not output.exists() or not any(output.iterdir())):
            return
        raise UsageError(f"{output} is no archive of qlumen, and is not empty; name a new folder")
    found: Any = json.loads(mark.read_text("utf-8"))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(
            f"{output} was written by another version of qlumen (format "
            f"{found.get('format') if isinstance(found, dict) else found}, this one has {FORMAT}); "
            "name a new folder"
        )


def find_version(output: Path, name: str) -> str:
    """Return the version whose name, or whose bundle's name, begins with `name`.

    Raises:
        UsageError: there is none, or more than one.
    """
    check_archive(output)
    known = {
        path.parent.name: json.loads(path.read_text("utf-8"))["bundle"]
        for path in sorted((output / "versions").glob("*/version.json"))
    }
    fitting = [one for one, bundle in known.items() if one.startswith(name) or bundle == name]
    if len(fitting) != 1:
        listed = ", ".join(f"{one} ({bundle})" for one, bundle in known.items()) or "none"
        raise UsageError(f"{len(fitting)} versions fit {name!r}; there are: {listed}")
    return fitting[0]
