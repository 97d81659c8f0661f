"""Reads how the frames of a recording must be turned to be upright."""

from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type


class Orientation:
    """Reads how to turn the frames of a recording, again only when that changes.

    PyAV's `frame.side_data` makes a reference cycle that keeps the frame until the garbage
    collector runs. If every frame were read, hundreds of frames would stay in memory.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._matrix: tuple[int, int, int, int] | None = None

    def matrix(self, frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
        """Return a, b, c, d of the frame's display matrix; None for the identity."""
        if frame.rotation != self._rotation:
            self._rotation = frame.rotation
            self._matrix = _display_matrix(frame.reformat(8, 8, "gray"))  # the cycle keeps this one
        return self._matrix


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return None if (b, c) == (0, 0) and a > 0 and d > 0 else (a, b, c, d)


def _name_unknown(kinds: type[Type], value: Any) -> Type:
    """Return a name for a kind of side data that PyAV does not list."""
    unknown = object.__new__(kinds)
    unknown._name_, unknown._value_ = f"UNKNOWN_{value}", value
    return unknown


# PyAV lists the kinds of side data by hand, and FFmpeg has more: the EXIF of JPEG, TIFF, PNG and
# WebP. Without this, `frame.side_data` of such a frame raises ValueError.
Type._missing_ = classmethod(_name_unknown)  # type: ignore[assignment]
