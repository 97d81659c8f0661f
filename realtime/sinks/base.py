"""The port every sink implements."""

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
    complete after `close`.
    """

    wants_overlay = False
    notes: Sequence[str] = ()

    @abstractmethod
    def write(self, result: Taken) -> None:
        """Take one result. Raises `SinkError` when it cannot be stored."""

    @abstractmethod
    def close(self) -> None:
        """Finish and release the output, leaving it readable; may be called twice."""
