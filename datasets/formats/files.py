"""Reads JSON and XML of unknown origin with a bounded size and clear errors."""

from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from qlumen.errors import DatasetError

MOST_BYTES = 1 << 29
T = TypeVar("T")


class Record(BaseModel):
    """Holds the fields of a JSON object that are used; others are left out."""

    model_config = ConfigDict(allow_inf_nan=False, frozen=True)


def find_file(source: Path, suffix: str) -> Path:
    """Return `source`, or the only file with the suffix in a folder and its subfolders."""
    if not source.is_dir():
        return source
    found = sorted(source.rglob(f"*{suffix}"))
    if len(found) != 1:
        raise DatasetError(f"{source} holds {len(found)} files *{suffix}; name the one to read")
    return found[0]


def read_text(path: Path) -> str:
    """Read a text in UTF-8; raise DatasetError if it is missing, too large or another file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{path} is larger than {MOST_BYTES >> 20} MiB; split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8 (byte {error.start})") from None


def read_json(path: Path, kind: type[T] | Any) -> T:
    """Read JSON of a pydantic type; raise DatasetError with a place that is wrong."""
    try:
        content: T = TypeAdapter(kind).validate_json(read_text(path))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        first = max(found, key=lambda one: len(one["loc"]))  # the deepest is the clearest
        place = ".".join(str(part)[:100] for part in first["loc"])
        raise DatasetError(f"{path}: {place + ': ' if place else ''}{first['msg']}") from None
    return content


def read_xml(path: Path) -> ElementTree.Element:
    """Read XML without a document type, so that it has no entities; raise DatasetError."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DatasetError(f"{path} has a document type or entities; remove them")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{path} is not XML that can be read: {error}") from None


def read_png(path: Path) -> NDArray[Any] | None:
    """Read the numbers of an image of one channel, `(H, W)`; None if it is not that."""
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        return None
    return image if image is not None and image.ndim == 2 else None


def write_png(path: Path, image: NDArray[Any]) -> None:
    """Write an image as PNG."""
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
