"""PNG files, written whole or not at all, under names taken from the frames."""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import SinkError
from qlumen.realtime.frames import Frame, FrameRecord
from qlumen.system.files import write_bytes


class PngFolder:
    """A folder that takes pictures named after their frames.

    A picture is called `frame_000123.png` for frame 123 of a video and `stem.png` for the
    still `stem.jpg`; a second still of the same stem keeps its full name, as in
    `stem.tif.png`. A picture that exists is replaced.

    Args:
        path: created unless it exists; its parent must.

    Raises:
        SinkError: the folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._used: dict[str, str] = {}
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise SinkError(f"no permission to write into {self.path}; choose another folder")

    def write(
        self, frame: Frame | FrameRecord, image: NDArray[np.uint8], name: str | None = None
    ) -> Path:
        """Store `(H, W)` or `(H, W, 3) uint8` BGR, as `name` if given; returns where."""
        path = self.path / (name or self._name(frame))
        # cv2.imwrite reports neither a full disk nor a name it cannot open.
        encoded = cv2.imencode(".png", image)[1]
        write_bytes(path, encoded.data)
        return path

    def _name(self, frame: Frame | FrameRecord) -> str:
        if not frame.name:
            return f"frame_{frame.index:06d}.png"
        stem = Path(frame.name).stem
        owner = self._used.setdefault(stem, frame.name)
        return f"{stem if owner == frame.name else frame.name}.png"
