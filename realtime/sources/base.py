"""The port every source of frames implements."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from qlumen.realtime.frames import Frame
from qlumen.system.closing import Closing


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame is read.

    Attributes:
        name: path, URL or `scene`, for messages.
        width, height: pixels of an upright frame; None when frames differ or it is unknown.
        fps: mean frames per second; None when unknown.
        frame_count: frames to come; None when unknown (streams, some containers).
        sequence: False for unrelated stills, where nothing carries from frame to frame.
        notes: one line each on what was left out or changed, such as dropped audio.
    """

    name: str
    width: int | None
    height: int | None
    fps: Fraction | None
    frame_count: int | None
    sequence: bool = True
    notes: tuple[str, ...] = ()


class Source(Closing, ABC):
    """Delivers frames in order, once. Opens in its constructor, so that bad input
    raises a `SourceError` before any output is touched.

    `drops` counts pictures that the source had and could not deliver, by cause.
    """

    info: SourceInfo
    drops: Counter[str]

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yield frames in presentation order.

        Raises:
            TruncatedError: after the last readable frame, if more were announced.
            NoFramesError: if not one frame could be read.
        """
