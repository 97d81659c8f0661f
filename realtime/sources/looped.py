"""A source played again and again, each round opened ahead of time."""

from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future

from qlumen.errors import TruncatedError
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.base import Source
from qlumen.system.threads import start_pool


class LoopedSource:
    """The frames of a source, round after round.

    The next round is opened by another thread while one plays, so that its first frame is
    not late.

    Args:
        open_source: opens the source at its beginning; called again for each round.
        loop: whether there is more than one round.

    Attributes:
        source: the one of the present round.
        drops: of all rounds so far.
    """

    def __init__(self, open_source: Callable[[], Source], *, loop: bool = True) -> None:
        self._open, self._loop = open_source, loop
        self._opener = start_pool("open", 1)
        self._next: Future[Source] | None = None
        self.drops: Counter[str] = Counter()
        self.source = self._count_drops(open_source())

    def frames(self) -> Generator[Frame | None]:
        """The source's frames, with None before those of each further round.

        Of a source that ends too early, what can be read is played in each round.

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
        """To be called by the thread that reads, or after it has ended."""
        self.source.close()
        self._opener.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._next.result().close()
        self._next = None

    def _count_drops(self, source: Source) -> Source:
        self.drops.update(source.drops)
        source.drops = self.drops
        return source
