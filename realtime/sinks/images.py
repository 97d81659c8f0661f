"""Writes PNG files of frames with the overlay, and of their masks."""

import threading
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.frames import Frame, FrameRecord, FrameResult
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.pixels.resize import resize
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

    A frame that came without an overlay is stored as it was grabbed. Pixels that are not square
    are stored as they are, so that the masks of `MaskWriter` fit.

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
        pixel_aspect: see `SourceInfo`; the image with overlay is stored with square pixels.

    Raises:
        SinkError: the folder cannot be made, or an image cannot be written.
    """

    wants_overlay = True

    def __init__(
        self, folder: Path, *, clean: bool = False, pixel_aspect: Fraction = Fraction(1)
    ) -> None:
        self._clean, self._pixel_aspect = clean, pixel_aspect
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
        shown = with_square_pixels(result.shown, self._pixel_aspect)
        self._folder.write(frame, shown, f"{name}.png")
        if self._clean:
            self._folder.write(frame, frame.image, f"{name}_clean.png")


def square_size(size: tuple[int, int], pixel_aspect: Fraction) -> tuple[int, int]:
    """Return the width and height that frames of a size have once their pixels are square."""
    width, height = size
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def with_square_pixels(image: NDArray[np.uint8], pixel_aspect: Fraction) -> NDArray[np.uint8]:
    """Return the image as it is shown: made wider or higher where its pixels are not square."""
    size = image.shape[1], image.shape[0]
    square = square_size(size, pixel_aspect)
    return image if square == size else resize(image, square)


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
