"""Writing a JSON document, whole or not at all."""

import json
from pathlib import Path
from typing import Any

from qlumen.errors import SinkError


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path`, an older file staying until the new one is complete.

    Raises:
        SinkError: it cannot be written.
    """
    text = json.dumps(content, indent=2) + "\n"
    special = path.exists() and not path.is_file()
    part = path if special else path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        if not special:
            part.replace(path)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None
