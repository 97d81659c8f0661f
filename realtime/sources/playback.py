"""Plays recordings and synthetic frames as live sources: each frame at its time."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction

from qlumen.errors import TruncatedError
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.sources.base import MICROSECOND, LiveSource, Source, StopFlag
from qlumen.realtime.sources.clock import SessionClock
from qlumen.system.threads import start_pool


class LoopedSource:
    """Repeats the frames of a source, round after round.

    Another thread opens the next round while one plays, so that its first frame is not late.

    Args:
        open_source: function that opens the source at its beginning, once for each round.
        loop: whether there is more than one round.

    Attributes:
        source: source of the current round.
        drops: drops of all rounds so far.
    """

    def __init__(self, open_source: Callable[[], Source], *, loop: bool = True) -> None:
        self._open, self._loop = open_source, loop
        self._opener = start_pool("open", 1)
        self._next: Future[Source] | None = None
        self.drops: Counter[str] = Counter()
        self.source = self._count_drops(open_source())

    def frames(self) -> Generator[Frame | None]:
        """Yield the source's frames, with None before each further round.

        If a source ends too early, each round plays the part that can be read.

        Raises:
            TruncatedError: a source that is not looped ends too early.
        """
        while True:
            self._next = self._opener.submit(self._open) if self._loop else None
            try:
                yield from self.source.frames()
            except TruncatedError:
                if not self._loop:
                    raise
            if self._next is None:
                return
            yield None
            self.source.close()
            self.source, self._next = self._count_drops(self._next.result()), None

    def close(self) -> None:
        """Release the sources; call this in the thread that reads, or after it has ended."""
        self.source.close()
        self._opener.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._next.result().close()
        self._next = None

    def _count_drops(self, source: Source) -> Source:
        self.drops.update(source.drops)
        source.drops = self.drops
        return source


ASSUMED_STEP_S = Fraction(1, 25)
MAX_STEP_S = 10
"""A longer pause between two frames of a recording is shortened to one step."""
GIVE_UP_NS = NS_PER_S
"""A source that is later than this goes on from there and does not try to catch up."""


class PacedSource(LiveSource):
    """Plays a `Source` at its own rate, by its time stamps.

    A frame is made while the one before is on show, and handed out when it is due; that moment
    is its `grabbed_ns`. A source that is too slow for its rate hands out every frame as soon as
    it is made, and `late` counts these frames.

    Args:
        open_source: function that opens the source at its beginning, once for each round.
        loop: whether to begin again after the last frame, one frame's time later.
    """

    def __init__(self, open_source: Callable[[], Source], *, loop: bool = False) -> None:
        self._looped = LoopedSource(open_source, loop=loop)
        self._stop = StopFlag()
        self.info, self.drops = self._looped.source.info, self._looped.drops
        self._step_s = 1 / self.info.fps if self.info.fps else ASSUMED_STEP_S

    def arrivals(self) -> Iterator[Frame]:
        clock = SessionClock()
        begun_ns: int | None = None
        for index, (time_s, frame) in enumerate(self._play_rounds()):
            made_ns = time.monotonic_ns()
            begun_ns = made_ns if begun_ns is None else begun_ns
            late_ns = made_ns - begun_ns - round(time_s * NS_PER_S)
            if self._stop.wait(-late_ns / NS_PER_S):
                return
            self.late += late_ns > self._step_s * NS_PER_S
            begun_ns += late_ns if late_ns > GIVE_UP_NS else 0
            now_ns = time.monotonic_ns()
            pts = clock.stamp(float(time_s), now_ns)
            yield replace(frame, index=index, pts=pts, time_base=MICROSECOND, grabbed_ns=now_ns)

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """Release the source; call this in the thread that reads, or after it has ended."""
        self._looped.close()

    def _play_rounds(self) -> Iterator[tuple[Fraction, Frame]]:
        """Yield frames of all rounds, with seconds since the first frame that never go back."""
        time_s, before_s = -self._step_s, None
        for frame in self._looped.frames():
            if frame is None:
                before_s = None
                continue
            self._take_notes()
            own_s = frame.pts * frame.time_base
            step_s = self._step_s if before_s is None else own_s - before_s
            time_s += step_s if 0 < step_s <= MAX_STEP_S else self._step_s
            before_s = own_s
            yield time_s, frame

    def _take_notes(self) -> None:
        notes = dict.fromkeys((*self.info.notes, *self._looped.source.info.notes))
        if len(notes) > len(self.info.notes):
            self.info = replace(self.info, notes=tuple(notes))
