"""The sink that takes everything and keeps nothing."""

from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.base import Sink


class NullSink(Sink):
    """For measuring the pipeline without outputs; `frames` counts what came."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, result: FrameResult) -> None:
        self.frames += 1

    def close(self) -> None:
        pass
