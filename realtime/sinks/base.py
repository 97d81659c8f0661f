"""Defines the interface of all sinks, and a sink that keeps nothing."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic

from typing_extensions import TypeVar

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.system.closing import Closing

Taken = TypeVar("Taken", contravariant=True, default=FrameResult)


class Sink(Closing, ABC, Generic[Taken]):
    """Takes one item for each frame, in order; the item is a `FrameResult` by default.

    A sink opens its output in the constructor, so an output that cannot be written raises a
    `SinkError` before any frame is read. A sink that sets `wants_overlay` receives
    `FrameResult.annotated`. `notes` has a line for each thing that was changed or left out; it
    is complete after `close`. `close` leaves the output readable and may be called twice.
    """

    wants_overlay = False
    notes: Sequence[str] = ()

    @abstractmethod
    def write(self, result: Taken) -> None:
        """Take one result; raise `SinkError` if it cannot be stored."""


class NullSink(Sink):
    """Counts its frames in `frames` and keeps nothing, to measure the pipeline without outputs."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, result: FrameResult) -> None:
        self.frames += 1


def make_folder(folder: Path) -> None:
    """Make a folder for outputs if it is missing; raise SinkError if it cannot be written."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be written: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"no permission to write into {folder}; choose another folder")
