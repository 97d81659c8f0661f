"""Writes a file or a folder whole or not at all."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qlumen.errors import QlumenError, SinkError
from qlumen.system.locations import SURROGATE, printable

MAX_NAME_BYTES = 255
"""Limit of a file name on Linux, macOS and Windows."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path `.NAME.part` beside `path`, and move it to `path` when the block ends.

    The block may write a file or a folder. The old content of `path` stays until the new one is
    complete, also if the process is killed. A block that raises leaves nothing. A link stays a
    link: its target is replaced. A device, a pipe or `/dev/stdout` is written to directly.

    Raises:
        SinkError: `path` cannot be written; the message names it.
    """
    try:
        if _is_direct(path):
            yield path
            return
        target = path.resolve()
        part = part_path(target)
        try:
            _remove(part)
            yield part
            if part.is_dir() and target.is_dir():
                shutil.rmtree(target)
            part.replace(target)
        finally:
            with suppress(OSError):
                _remove(part)
    except QlumenError:
        raise
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error


def part_path(path: Path) -> Path:
    """Return `.NAME.part` beside `path`; a hash takes the place of a name that is too long."""
    name = os.fsencode(path.name)
    if len(name) + len(b"..part") > MAX_NAME_BYTES:
        return path.with_name(f".{hashlib.sha256(name).hexdigest()[:32]}.part")
    return path.with_name(f".{path.name}.part")


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` as an indented JSON document; raise SinkError if that fails.

    Bytes of a file name that are not UTF-8 become text as in `printable`.
    """
    text = json.dumps(content, indent=2)
    if "\\ud" in text:
        text = SURROGATE.sub(_escape, json.dumps(content, indent=2, ensure_ascii=False))
    write_bytes(path, f"{text}\n".encode())


def _escape(surrogate: re.Match[str]) -> str:
    return json.dumps(printable(surrogate[0]))[1:-1]


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`; raise SinkError if that fails."""
    with replacing(path) as part:
        part.write_bytes(content)


def _is_direct(path: Path) -> bool:
    """Check whether `path` must be written in place: `/dev/stdout` may lead to a regular file,
    which the shell holds open."""
    if path.is_symlink() and path.absolute().parts[1] in ("dev", "proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
