"""The port every sink implements, and the sink that keeps nothing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic

from typing_extensions import TypeVar

from qlumen.realtime.frames import FrameResult
from qlumen.system.closing import Closing

Taken = TypeVar("Taken", contravariant=True, default=FrameResult)


class Sink(Closing, ABC, Generic[Taken]):
    """Takes what belongs to each frame, in order: its result, where nothing else is said.

    Opens in its constructor, so that an output that cannot be written raises a `SinkError`
    before any frame is read. A sink that sets `wants_overlay` receives
    `FrameResult.annotated`. `notes` has a line on each thing that was changed or left out,
    complete after `close`, which leaves the output readable and may be called twice.
    """

    wants_overlay = False
    notes: Sequence[str] = ()

    @abstractmethod
    def write(self, result: Taken) -> None:
        """Take one result. Raises `SinkError` when it cannot be stored."""


class NullSink(Sink):
    """For measuring the pipeline without outputs; `frames` counts what came."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, result: FrameResult) -> None:
        self.frames += 1
