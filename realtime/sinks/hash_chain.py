"""Links lines of JSON so that each carries the hash of the line before.

A line ends in two keys. `previous` is the SHA-256 of the whole line before it (bytes,
without the newline; 64 zeros in the first line). `sha256` is that of the line itself up to
this key. `previous` shows where lines were removed, inserted or moved. `sha256` shows
which line was changed, also the last one.

The chain has no secret: it shows damage and careless editing. A person who rewrites a line
and all lines after it leaves a valid chain with another last hash. A person who removes
lines at the end leaves a shorter one. Both show if the last hash is kept elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

START = "0" * 64
"""The value of `previous` in the first line."""
_TAIL = re.compile(rb',"previous":"([0-9a-f]{64})","sha256":"([0-9a-f]{64})"\}$')
_TAIL_BYTES = len(',"previous":"","sha256":""}') + 2 * 64
_OWN_BYTES = len(',"sha256":""}') + 64


def link(content: Mapping[str, object], previous: str) -> bytes:
    """Return the line, without newline, that holds `content` and follows the hash `previous`.

    `content` has at least one key.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    body = f'{text[:-1]},"previous":"{previous}"'
    return f'{body},"sha256":"{hash_of(body.encode())}"}}'.encode()


def hash_of(line: bytes) -> str:
    """Return the SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def previous_of(line: bytes) -> str | None:
    """Return `previous` of a line without newline; None if the line is not as written."""
    tail = _TAIL.match(line[-_TAIL_BYTES:])
    if tail is None or hash_of(line[:-_OWN_BYTES]) != tail[2].decode():
        return None
    return tail[1].decode()


MAX_LINE_BYTES = 64 * 2**20
"""Far above a line with the contours of a whole frame; qlumen writes no longer line."""


class Damage(StrEnum):
    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Fault:
    """Describes the first wrong line, from 1; for `REMOVED`, lines before it are missing."""

    line: int
    damage: Damage

    def __str__(self) -> str:
        return _TEXTS[self.damage].format(self.line)


_TEXTS = {
    Damage.CHANGED: "line {} was changed",
    Damage.REMOVED: "line {}: lines before it were removed, or the one before it was rewritten",
    Damage.INSERTED: "line {} was inserted",
    Damage.REORDERED: "line {} is not in its place: lines were reordered",
    Damage.CUT: "line {}: cut: the last line is incomplete",
}


@dataclass(slots=True)
class Account:
    """Summarizes the lines before the first fault.

    Attributes:
        lines, frames, notes: number of each; a line with the key `event` is a note.
        whole_bytes: length of these lines, newlines included.
        times_s: `time_s` of the first and the last frame.
        dates: `at` of the first and the last note.
        last: hash of the last line; `START` without any.
        fault: first fault; None for a whole file.
    """

    lines: int = 0
    frames: int = 0
    notes: int = 0
    whole_bytes: int = 0
    times_s: tuple[object, object] | None = None
    dates: tuple[object, object] | None = None
    last: str = START
    fault: Fault | None = None

    def add(self, line: bytes, content: dict[str, object]) -> None:
        self.lines += 1
        self.whole_bytes += len(line) + 1
        self.last = hash_of(line)
        if "event" in content:
            self.notes += 1
            date = content.get("at")
            self.dates = (self.dates[0] if self.dates else date, date)
        else:
            self.frames += 1
            time_s = content.get("time_s")
            self.times_s = (self.times_s[0] if self.times_s else time_s, time_s)


def check_chain(path: Path) -> Account:
    """Read a regular file once, twice if it is damaged; memory holds one line at a time.

    Raises:
        OSError: the file cannot be read.
    """
    account = Account()
    before = ""
    for line in _lines(path):
        if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
            account.fault = Fault(account.lines + 1, Damage.CUT)
            break
        line = line.removesuffix(b"\n")
        previous, content = previous_of(line), _content(line)
        if previous != account.last or content is None:
            account.fault = _Surroundings(path, account, line, before).fault()
            break
        before = account.last
        account.add(line, content)
    return account


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line


def _content(line: bytes) -> dict[str, object] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


class _Surroundings:
    """Searches the whole file to explain a line that does not follow the line before it."""

    def __init__(self, path: Path, account: Account, line: bytes, before: str) -> None:
        self.number = account.lines + 1
        self.previous = previous_of(line) if _content(line) is not None else None
        self.before = before
        own = hash_of(line)
        self.copies = 0  # of the line itself, anywhere
        self.awaited = False  # a line further down follows the one above
        self.known = False  # a line anywhere follows it, or it follows a line anywhere
        for number, raw in enumerate(_lines(path), 1):
            other = raw.removesuffix(b"\n")
            other_hash, other_previous = hash_of(other), previous_of(other)
            self.copies += other_hash == own
            self.awaited |= number > self.number and other_previous == account.last
            self.known |= other_previous == own or other_hash == self.previous

    def fault(self) -> Fault:
        if self.previous is None:
            return Fault(self.number, Damage.INSERTED if self.awaited else Damage.CHANGED)
        if self.copies > 1:
            return Fault(self.number, Damage.INSERTED)
        if self.previous == self.before:
            return Fault(self.number - 1, Damage.INSERTED)
        if self.awaited:
            return Fault(self.number, Damage.REORDERED if self.known else Damage.INSERTED)
        return Fault(self.number, Damage.REMOVED)
