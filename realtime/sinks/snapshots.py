"""Pictures of the frames with the overlay drawn."""

import threading
from datetime import UTC, datetime
from pathlib import Path

from qlumen.errors import ConfigError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.png import PngFolder


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

    def close(self) -> None:
        pass


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

    def close(self) -> None:
        pass
