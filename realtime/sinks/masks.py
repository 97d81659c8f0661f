"""The masks themselves, for evaluation."""

from pathlib import Path

import numpy as np

from qlumen.realtime.frames import Frame, FrameRecord, FrameResult
from qlumen.realtime.pixels.arrays import Mask
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
        self.add(result.frame, result.segmentation.mask)

    def add(self, frame: Frame | FrameRecord, mask: Mask) -> None:
        """Store the mask of a frame. Raises SinkError when it cannot be."""
        self._folder.write(frame, mask * FOREGROUND)

    def close(self) -> None:
        pass
