"""The bounded queues between stages: one that makes its producer wait, one that drops."""

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class StageQueue(Generic[T]):
    """A bounded first-in first-out queue that makes a faster producer wait.

    `close` ends it: what is queued is still delivered. `abort` ends it empty.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._open = True
        self._changed = Condition()

    def put(self, item: T) -> bool:
        """Wait for room and append `item`; False if the queue has ended instead."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or not self._open)
            if self._open:
                self._items.append(item)
                self._changed.notify_all()
            return self._open

    def __iter__(self) -> Iterator[T]:
        """Yield items in order, waiting for them, until the queue has ended and is empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or not self._open)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def abort(self) -> list[T]:
        """End the queue and return what was still in it."""
        with self._changed:
            dropped = list(self._items)
            self._items.clear()
            self._open = False
            self._changed.notify_all()
            return dropped


class DroppingQueue(Generic[T]):
    """A bounded first-in first-out queue whose producer never waits: the oldest item gives
    way to the newest. With a capacity of 1 it holds the newest item only.
    """

    def __init__(self, capacity: int = 1) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._open = True
        self._changed = Condition()

    @property
    def ended(self) -> bool:
        """Closed, and nothing left to take."""
        with self._changed:
            return not self._open and not self._items

    def put(self, item: T) -> T | None:
        """Append `item` and return what gave way to it; a closed queue returns `item` itself."""
        with self._changed:
            if not self._open:
                return item
            dropped = self._items.popleft() if len(self._items) == self._capacity else None
            self._items.append(item)
            self._changed.notify()
            return dropped

    def get(self, timeout_s: float | None = None) -> T | None:
        """The oldest item; None when none came in time, or the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._open, timeout_s)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()
