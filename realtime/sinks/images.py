"""Writes PNG files of frames with the overlay, and of their masks."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.frames import Frame, FrameRecord, FrameResult
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sinks.base import Sink, make_folder
from qlumen.system.files import write_bytes


class PngFolder:
    """Stores images in a folder and names them after their frames.

    An image is called `frame_000123.png` for frame 123 of a video and `stem.png` for the still
    `stem.jpg`. A second still of the same stem keeps its full name, as in `stem.tif.png`, and its
    frame's number if that name is also taken. An existing file of that name is replaced.

    Args:
        path: path of the folder, which is created if missing; its parent must exist.

    Raises:
        SinkError: the folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._used: dict[str, str] = {}
        make_folder(self.path)

    def write(
        self, frame: Frame | FrameRecord, image: NDArray[np.uint8], name: str | None = None
    ) -> Path:
        """Store `(H, W)` or `(H, W, 3) uint8` BGR, as `name` if given, and return the path."""
        path = self.path / (name or self._name(frame))
        # cv2.imwrite reports neither a full disk nor a name it cannot open.
        encoded = cv2.imencode(".png", image)[1]
        write_bytes(path, encoded.data)
        return path

    def _name(self, frame: Frame | FrameRecord) -> str:
        if not frame.name:
            return f"frame_{frame.index:06d}.png"
        names = (Path(frame.name).stem, frame.name, f"{frame.name}_{frame.index}")
        free = (name for name in names if self._used.setdefault(name, frame.name) == frame.name)
        return f"{next(free)}.png"


class Snapshots(Sink):
    """Writes a PNG file of every `every`-th frame from the first on; `PngFolder` names it.

    A frame that came without an overlay is stored as it was grabbed.

    Raises:
        ConfigError: `every` is below 1.
        SinkError: the folder cannot be made, or an image cannot be written.
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
    """Writes a PNG file of the frame that comes after each `request`, for live video.

    The name has the wall clock (UTC) and the frame's number, so no session replaces an image of
    another: `20260131T141502.250Z_frame_000123.png`. The frame without overlay has `_clean` at
    the end of its name.

    Args:
        folder: path of the folder, which is created if missing; its parent must exist.
        clean: whether to store also the frame as it was grabbed.

    Raises:
        SinkError: the folder cannot be made, or an image cannot be written.
    """

    wants_overlay = True

    def __init__(self, folder: Path, *, clean: bool = False) -> None:
        self._clean = clean
        self._folder = PngFolder(folder)
        self._requested = threading.Event()

    def request(self) -> None:
        """Store the next frame; any thread may call this."""
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
    """Writes a PNG file of every frame's mask; `PngFolder` names it.

    A mask is `(H, W)` at the frame's size, 255 on findings and 0 elsewhere.

    Raises:
        SinkError: the folder cannot be made, or a mask cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = PngFolder(folder)

    def write(self, result: FrameResult) -> None:
        self.add(result.frame, result.segmentation.mask)

    def add(self, frame: Frame | FrameRecord, mask: Mask) -> None:
        """Store the mask of a frame; raise SinkError if that fails."""
        self._folder.write(frame, mask * FOREGROUND)
