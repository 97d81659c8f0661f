"""Pictures of the frames with the overlay drawn."""

from pathlib import Path

from qlumen.realtime.errors import ConfigError
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
        drawn = result.frame.image if result.drawn is None else result.drawn
        self._folder.write(result.frame, drawn)

    def close(self) -> None:
        pass
