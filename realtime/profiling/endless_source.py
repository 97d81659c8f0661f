"""Repeats a source without end, at a steady rate or as fast as its frames are taken."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.sources.base import Source
from qlumen.realtime.sources.playback import LoopedSource


class EndlessSource(Source):
    """Starts again after the last frame; `index` counts on.

    A frame is not read before it is due. If the reader comes late, the due times of the next
    frames stay, so the cost of a stall is not left out ("coordinated omission").

    Args:
        open_source: function that opens the source at its beginning; called for each round.
    """

    def __init__(self, open_source: Callable[[], Source]) -> None:
        self._looped = LoopedSource(open_source)
        self._endless = self._looped.frames()
        self._first, self._begun_ns, self._period_ns = 0, 0, 0
        self.info, self.drops = self._looped.source.info, self._looped.drops
        self.index = 0

    def pace(self, fps: float | None) -> None:
        """Deliver at this rate from the next frame on; None: as fast as frames are taken."""
        self._period_ns = round(NS_PER_S / fps) if fps else 0
        self._first, self._begun_ns = self.index, time.monotonic_ns()

    def due_ns(self, index: int) -> int | None:
        """Return when a frame of the present pace was due; None without a pace."""
        if not self._period_ns:
            return None
        return self._begun_ns + (index - self._first) * self._period_ns

    def frames(self) -> Iterator[Frame]:
        """Yield frames; a further call goes on where the last one ended."""
        while True:
            due_ns = self.due_ns(self.index)
            if due_ns is not None:
                time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            frame = next(frame for frame in self._endless if frame is not None)
            frame = replace(frame, index=self.index)
            self.index += 1
            yield frame

    def close(self) -> None:
        """Close the source. Call this in the thread that reads, or after it has ended."""
        self._endless.close()
        self._looped.close()
