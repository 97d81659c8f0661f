"""Shares one engine among several sources by fair turns, by start-time fair queueing.

Sources that ask get turns in proportion to their weights (Goyal, Vin and Cheng, SIGCOMM 1996). A
turn that hangs keeps nobody waiting for long.
"""

import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Condition

from qlumen.realtime.frames import Frame
from qlumen.realtime.queues import DroppingQueue

TURN_SECONDS = 0.05
"""Turns up to this length cost the same, so that equal weights judge equally often. Longer turns
cost their time, so that a source with expensive frames pays for them itself."""
LONGEST_SECONDS = 1.0
"""After this time a turn no longer keeps others waiting, and it costs no more."""
CREDIT_SECONDS = 0.25
"""A silent source saves up no more than this. Without it a source would lose weight whenever its
thread asks after the next turn has begun."""
RATE_SECONDS = 2.0


class Share:
    """Holds the part of one source: its weight, and the virtual time `due` of its next turn."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.due = weight, 0.0
        self.ends: deque[float] = deque(maxlen=512)

    def rate(self) -> float:
        """Return the turns per second over the last `RATE_SECONDS`."""
        since = time.monotonic() - RATE_SECONDS
        return sum(end > since for end in self.ends.copy()) / RATE_SECONDS


class FairOrder:
    """Chooses whose turn it is. It has no clock and no lock."""

    def __init__(self) -> None:
        self._now = 0.0

    def ask(self, share: Share) -> None:
        share.due = max(share.due, self._now - CREDIT_SECONDS)

    def first(self, asking: Collection[Share]) -> Share:
        """Return the one whose turn was due first."""
        return min(asking, key=lambda share: share.due)

    def begin(self, share: Share) -> None:
        self._now = max(self._now, share.due)

    def end(self, share: Share, seconds: float) -> None:
        """Charge a turn that took `seconds`."""
        share.due += min(max(seconds, TURN_SECONDS), LONGEST_SECONDS) / share.weight


class Turns:
    """Makes sources wait for their turns, of which `at_once` may run at the same time."""

    def __init__(self, at_once: int = 1) -> None:
        self._at_once, self._order, self._changed = at_once, FairOrder(), Condition()
        self._asking: list[Share] = []
        self._begun: list[float] = []

    @contextmanager
    def next_frame(
        self, share: Share, inbox: DroppingQueue[Frame], timeout_s: float
    ) -> Iterator[Frame | None]:
        """Wait for a frame, then for a turn, and yield the frame that is then the newest.

        The turn lasts until the block ends. Without a frame in time there is no turn.
        """
        if not inbox.wait(timeout_s):
            yield None
            return
        begun = self._begin(share)
        try:
            yield inbox.get(0)
            share.ends.append(time.monotonic())
        finally:
            with self._changed:
                self._begun.remove(begun)
                self._order.end(share, time.monotonic() - begun)
                self._changed.notify_all()

    def _begin(self, share: Share) -> float:
        with self._changed:
            self._order.ask(share)
            self._asking.append(share)
            while self._running() >= self._at_once or self._order.first(self._asking) is not share:
                self._changed.wait(TURN_SECONDS)  # a turn may also become too long
            self._asking.remove(share)
            self._order.begin(share)
            self._begun.append(time.monotonic())
            self._changed.notify_all()
            return self._begun[-1]

    def _running(self) -> int:
        """Count the turns that keep others waiting."""
        return sum(begun > time.monotonic() - LONGEST_SECONDS for begun in self._begun)
