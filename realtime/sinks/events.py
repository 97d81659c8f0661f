"""Writes one line of JSON for each frame and each note."""

import math
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.frames import Finding, FrameRecord, LiveState, Recordable, Track
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.hash_chain import START, Account, Damage, check_chain, hash_of, link
from qlumen.system.locations import printable

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None

TIME_DIGITS = 6
SCORE_DIGITS = 4
STAGE_DIGITS = 3
Note = Callable[..., None]
"""Writes an event from its kind and its fields by name."""
OWN_KEYS = frozenset(("event", "at", "previous", "sha256"))


class EventsWriter(Sink[Recordable]):
    """Writes JSON Lines (UTF-8), one line for each frame and each note.

    Each line goes to the file immediately, so a killed process loses at most the line that it
    was writing. Each line carries the hash of the line before (`hash_chain`); `last_hash` is
    the hash of the newest line. `qlumen verify` checks the file.

    The line of a frame has `frame` (0-based), `time_s`, `findings` (list of `box`
    [x0, y0, x1, y1] in px, `score`, `area_px`, `contour` [[x, y], ...] in px), `condition`,
    `tracks` (list of `number`, `box`, `score`, `alarm`, `new`, `since_s`), `stages_ms`, and
    `name` if the source reads single images. On live video it also has `ai`,
    `annotated_frame`, `annotation_age_ms`, `signal` and `overlay`. Findings and tracks have
    `label` if an analysis step gave them one.
    The line of a note has `event`, `at` (wall clock, ISO 8601, UTC) and the note's fields.
    Numbers that are not finite become null.

    Args:
        path: path of a file, or of a stream such as `/dev/stdout`.
        append: whether to add to an existing file. Its lines are checked first; a last line
            that a kill cut short becomes a note `recovered`. Without `append` an existing file
            is emptied when the first line is written, not before.

    Raises:
        SinkError: the file cannot be opened or written.
        UsageError: the file to add to is damaged, or another session writes to it.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self.last_hash = START
        self._path = Path(path)
        self._lock = threading.Lock()
        self._started = append
        try:
            if append and self._path.is_file():
                self._resume(check_chain(self._path))
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._error(error) from error
        if append:
            self._claim()

    def write(self, result: Recordable) -> None:
        self._add(event(result.record()))

    def note(self, kind: str, /, **fields: object) -> None:
        """Add a line about an event; any thread may call this.

        Raises:
            SinkError: the line cannot be written.
            ValueError: a field has the name of one of the line's own keys (`OWN_KEYS`).
        """
        self._add(_note(kind, fields))

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _add(self, content: Mapping[str, object]) -> None:
        with self._lock:
            if self._file.closed:
                raise SinkError(f"events file {self._path} is closed")
            line = link(content, self.last_hash)
            try:
                self._start()
                self._append(line + b"\n")
            except OSError as error:
                raise self._error(error) from error
            self.last_hash = hash_of(line)

    def _claim(self) -> None:
        """Keep other processes from adding to the file: two would break each other's chain."""
        if fcntl is None or not self._is_regular():
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UsageError(
                f"events file {self._path} is being written by another session; choose another name"
            ) from error

    def _start(self) -> None:
        if not self._started and self._is_regular():
            self._file.truncate(0)
        self._started = True

    def _append(self, line: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        try:
            while line:  # a disk that is almost full takes only a part first
                line = line[self._file.write(line) :]
        except OSError:
            if self._is_regular():
                with suppress(OSError):
                    self._file.truncate(size)
            raise

    def _is_regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    def _resume(self, account: Account) -> None:
        self.last_hash = account.last
        if account.fault is None:
            return
        if account.fault.damage is not Damage.CUT:
            raise UsageError(
                f"events file {self._path} is damaged, so nothing can be added: {account.fault}; "
                "move it away or choose another name"
            )
        with self._path.open("r+b") as file:
            file.seek(account.whole_bytes)
            text = file.read().decode(errors="backslashreplace")
            line = link(_note("recovered", {"cut_line": text}), self.last_hash)
            file.seek(account.whole_bytes)
            file.write(line + b"\n")
            file.truncate()
        self.last_hash = hash_of(line)

    def _error(self, error: OSError) -> SinkError:
        return SinkError(f"events file {self._path} cannot be written: {error.strerror}")


def event(record: FrameRecord) -> dict[str, object]:
    """Return the content of a frame's line in plain Python types."""
    line: dict[str, object] = {
        "frame": int(record.index),
        "time_s": _round(record.time_s, TIME_DIGITS),
    }
    if record.name:
        line["name"] = printable(record.name)
    line["findings"] = [_finding(finding) for finding in record.findings]
    line["stages_ms"] = {stage: _round(ms, STAGE_DIGITS) for stage, ms in record.stages_ms.items()}
    if record.condition is not None:
        line["condition"] = record.condition
        line["tracks"] = [_track(track) for track in record.tracks]
    return line | _live(record.live) if record.live else line


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "box": [int(edge) for edge in finding.box],
        "score": _round(finding.score, SCORE_DIGITS),
        "area_px": int(finding.area_px),
        "contour": finding.contour.tolist(),
    } | _label(finding)


def _label(finding: Finding) -> dict[str, object]:
    return {"label": printable(finding.label)} if finding.label else {}


def _live(live: LiveState) -> dict[str, object]:
    age_ms = live.annotation_age_ms
    return {
        "ai": live.ai,
        "annotated_frame": None if live.annotated_frame is None else int(live.annotated_frame),
        "annotation_age_ms": None if age_ms is None else _round(age_ms, STAGE_DIGITS),
        "signal": bool(live.signal),
        "overlay": bool(live.overlay),
    }


def _track(track: Track) -> dict[str, object]:
    return {
        "number": int(track.number),
        "box": [int(edge) for edge in track.finding.box],
        "score": _round(track.finding.score, SCORE_DIGITS),
        "alarm": bool(track.alarm),
        "new": bool(track.new),
        "since_s": _round(track.since_s, TIME_DIGITS),
    } | _label(track.finding)


def _note(kind: str, fields: Mapping[str, object]) -> dict[str, object]:
    if reserved := OWN_KEYS.intersection(fields):
        raise ValueError(f"each line has its own {', '.join(sorted(reserved))}; rename the field")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": kind, "at": now, **{name: _plain(value) for name, value in fields.items()}}


def _plain(value: object) -> object:
    """Return a value that JSON can hold; an unknown type becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return printable(str(value))


def _round(figure: float, digits: int) -> float | None:
    return round(float(figure), digits) if math.isfinite(figure) else None
