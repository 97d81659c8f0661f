"""The masks themselves, for evaluation."""

from pathlib import Path

import numpy as np

from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.png import PngFolder

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
        self._folder.write(result.frame, result.segmentation.mask * FOREGROUND)

    def close(self) -> None:
        pass
