"""PNG files of frames with the overlay, and of their masks."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError, SinkError
from qlumen.realtime.frames import Frame, FrameRecord, FrameResult
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sinks.base import Sink
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


class Snapshots(Sink):
    """PNG files of every `every`-th frame, the first one included; named by `PngFolder`.

    A frame that came without an overlay is stored as it was grabbed.

    Raises:
        ConfigError: `every` below 1.
        SinkError: the folder cannot be made, or a picture not written.
    """

    wants_overlay = True

    def __init__(self, folder: Path, *, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(f"snapshots of every {every} frames; give 1 or more")
        self._every = every
        self._folder = PngFolder(folder)

    def write(self, result: FrameResult) -> None:
        if result.frame.index % self._every:
            return
        self._folder.write(result.frame, result.shown)


class SnapshotOnRequest(Sink):
    """A PNG file of the frame that comes after each `request`, for live video.

    Named after the wall clock (UTC) and the frame, so that no session replaces what
    another stored: `20260131T141502.250Z_frame_000123.png`, and the same with `_clean`
    for the frame without overlay.

    Args:
        folder: created unless it exists; its parent must.
        clean: also store the frame as it was grabbed.

    Raises:
        SinkError: the folder cannot be made, or a picture not written.
    """

    wants_overlay = True

    def __init__(self, folder: Path, *, clean: bool = False) -> None:
        self._clean = clean
        self._folder = PngFolder(folder)
        self._requested = threading.Event()

    def request(self) -> None:
        """Store the next frame; from any thread."""
        self._requested.set()

    def write(self, result: FrameResult) -> None:
        if not self._requested.is_set():
            return
        self._requested.clear()
        frame = result.frame
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name = f"{now}Z_frame_{frame.index:06d}"
        self._folder.write(frame, result.shown, f"{name}.png")
        if self._clean:
            self._folder.write(frame, frame.image, f"{name}_clean.png")


FOREGROUND = np.uint8(255)


class MaskWriter(Sink):
    """PNG files of every frame's mask: `(H, W)` at the frame's size, 255 on findings, else 0;
    named by `PngFolder`.

    Raises:
        SinkError: the folder cannot be made, or a mask not written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = PngFolder(folder)

    def write(self, result: FrameResult) -> None:
        self.add(result.frame, result.segmentation.mask)

    def add(self, frame: Frame | FrameRecord, mask: Mask) -> None:
        """Store the mask of a frame. Raises SinkError when it cannot be."""
        self._folder.write(frame, mask * FOREGROUND)
