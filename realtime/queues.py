"""Connects stages by bounded queues: one makes its producer wait, the other drops items."""

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class StageQueue(Generic[T]):
    """Holds a bounded number of items, first in, first out; a faster producer must wait.

    After `close` the queued items are still delivered; `abort` returns them instead.
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
        """Wait for items and yield them in order, until the queue has ended and is empty."""
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
        """End the queue and return the items that were still in it."""
        with self._changed:
            dropped = list(self._items)
            self._items.clear()
            self._open = False
            self._changed.notify_all()
            return dropped


class DroppingQueue(Generic[T]):
    """Holds a bounded number of items, first in, first out; its producer never waits. A full
    queue drops its oldest item. With a capacity of 1 it holds only the newest item."""

    def __init__(self, capacity: int = 1) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._open = True
        self._changed = Condition()

    @property
    def ended(self) -> bool:
        """Check whether the queue is closed and empty."""
        with self._changed:
            return not self._open and not self._items

    def put(self, item: T) -> T | None:
        """Append `item` and return the dropped one; a closed queue returns `item` itself."""
        with self._changed:
            if not self._open:
                return item
            dropped = self._items.popleft() if len(self._items) == self._capacity else None
            self._items.append(item)
            self._changed.notify()
            return dropped

    def wait(self, timeout_s: float) -> bool:
        """Wait for an item without taking it; False when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._open, timeout_s)
            return bool(self._items)

    def get(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item; None when no item came in time, or the queue has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._open, timeout_s)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()
