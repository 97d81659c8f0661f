"""Keeps the folder of an archive: its versions, and what became of each recording."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.archive.recordings import Recording
from qlumen.realtime.archive.tables import is_complete
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.sinks.base import make_folder
from qlumen.system.files import write_json

FORMAT = 1
MARK = "archive.json"
"""File that makes a folder an archive."""
WORK = ".work"
"""Folder of an archive with what its workers have not finished."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Says what became of a recording; with an `error` it is set aside.

    Attributes:
        bytes, stamp: those of `Recording`.
        sha256: hash of the file; empty with an error.
        log: end of the error's trace.
    """

    bytes: int
    stamp: str
    sha256: str = ""
    error: str = ""
    log: str = ""


class ArchiveFolder:
    """Knows one version of the results: those of one bundle, settings and software.

    Attributes:
        version: name of the version in all paths.
        entries: what became of each recording, by its name.

    Raises:
        UsageError: the folder is not empty and no archive that this software reads.
    """

    def __init__(self, output: Path, settings: Settings) -> None:
        check_archive(output, new=True)
        self.output = output
        self._facts = describe(settings)
        self.version = version_name(self._facts)
        self._about = output / "versions" / self.version
        self.entries = self._read()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs away while the block runs; write the manifest at its end.

        Raises:
            SinkError: the folder cannot be written.
            UsageError: another run writes to it.
        """
        import fcntl

        make_folder(self.output)
        with (self.output / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another run writes to {self.output}; wait until it ends"
                ) from error
            write_json(self.output / MARK, {"format": FORMAT})
            self._about.mkdir(parents=True, exist_ok=True)
            write_json(self._about / "version.json", self._facts)
            self.entries = self._read()  # a run may have ended since they were read
            shutil.rmtree(self.output / WORK, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self.output / WORK, ignore_errors=True)
                self.save()

    def is_done(
        self, recording: Recording, extras: Sequence[str] = (), retry: bool = False
    ) -> bool:
        """Check whether nothing is left to do; `retry`: what is set aside is to be done."""
        entry = self.entries.get(recording.name)
        if entry is None or (entry.bytes, entry.stamp) != (recording.bytes, recording.stamp):
            return False
        if entry.error:
            return not retry
        return is_complete(self.output, self.version, entry.sha256, extras)

    def save(self) -> None:
        """Write the manifest, whole or not at all."""
        entries = {name: asdict(self.entries[name]) for name in sorted(self.entries)}
        write_json(self._about / "manifest.json", entries)

    def _read(self) -> dict[str, Entry]:
        manifest = self._about / "manifest.json"
        stored = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
        return {name: Entry(**one) for name, one in stored.items()}


def describe(settings: Settings) -> dict[str, str]:
    """Return what decides on the rows: bundle, settings and software of this computer."""
    bundle = read_bundle(bundle_folder(settings))
    return {
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "settings_sha256": settings.sha256(),
        "qlumen": version("qlumen"),
    }


def version_name(facts: dict[str, str]) -> str:
    """Return the name of the version with these facts: 12 digits of their hash."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def check_archive(output: Path, *, new: bool = False) -> None:
    """Raise UsageError unless the folder is an archive that this software reads.

    Args:
        new: whether an empty folder, or none, will do. Hidden files do not count: a run that was
            killed early may have left some.
    """
    try:
        found = json.loads((output / MARK).read_bytes()).get("format")
    except NotADirectoryError as error:
        raise UsageError(f"--output {output} is a file; give the name of a folder") from error
    except FileNotFoundError:
        if new and (not output.exists() or all(one.name[0] == "." for one in output.iterdir())):
            return
        raise UsageError(f"{output} is no archive of qlumen; name a new or empty folder") from None
    except (ValueError, AttributeError):
        found = "unknown"
    if found != FORMAT:
        raise UsageError(
            f"{output} was written by another version of qlumen (format {found}, this one has "
            f"{FORMAT}); name a new folder"
        )


def find_version(output: Path, name: str) -> str:
    """Return the version whose name begins with `name`, or whose bundle has this name.

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
