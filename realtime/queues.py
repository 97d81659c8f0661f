"""The bounded queue between two stages."""

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
