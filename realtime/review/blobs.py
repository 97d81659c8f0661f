"""Stores many small pieces of bytes in one file, found again by offset and length."""

from pathlib import Path
from typing import BinaryIO

from qlumen.errors import ReviewError, SinkError
from qlumen.system.closing import Closing

Place = tuple[int, int]
"""Offset and length in bytes."""


class BlobWriter(Closing):
    """Appends pieces to a new file. Raises SinkError if the file cannot be created or grow."""

    def __init__(self, path: Path) -> None:
        self._path, self._end = path, 0
        try:
            self._file: BinaryIO = path.open("xb")
        except OSError as error:
            raise self._error(error) from error

    def add(self, data: bytes) -> Place:
        """Store a piece and return its place."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._error(error) from error
        place = self._end, len(data)
        self._end += len(data)
        return place

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path} cannot be written: {error.strerror}")


class BlobFile(Closing):
    """Reads pieces in one thread at a time. Raises ReviewError if the file is missing or short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ReviewError(f"{path}: {error.strerror}; make the review again") from None

    def read(self, place: Place) -> bytes:
        self._file.seek(place[0])
        data = self._file.read(place[1])
        if len(data) != place[1]:
            raise ReviewError(f"{self._path} is cut short; make the review again")
        return data

    def close(self) -> None:
        self._file.close()
