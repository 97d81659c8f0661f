"""Arrays of whole pictures, used again once nobody holds them.

A picture is made in one thread, read in others, and dropped by whichever is last. Given back
to the allocator each time, pictures leave gaps between what else lives there, and memory
grows for minutes; given back to the system, they cost a page fault every 4 KiB when they are
next written to (1080p: 6,000 a frame, 12 ms). Kept here, they cost neither.

As many as a replay needs are made at the start: made one by one, whenever there were never
before so many on their way at once, they would let memory grow for minutes. Those that a busy
moment needs besides, such as frames that wait for a slow output, go back to the system after
it. So that they can, each has a mapping of its own: what `malloc` gets back it may keep.
"""

import math
import mmap
import sys
import threading

import numpy as np
from numpy.typing import NDArray

PREPARED = 12
"""Pictures on their way at once in a replay whose queues are full, if all are wanted whole."""
PREPARED_BYTES = 72 << 20
"""Of the prepared ones, at most; twelve pictures of 1080p."""
SPARE = 2
"""Free arrays that are kept when more than the prepared ones are in use."""


class FramePool:
    """Hands out arrays of one shape at a time; threads may share it.

    What `take` returns is a view of an array that the pool keeps. NumPy makes each further
    view, slice or memoryview hold that array too, so it is free when CPython counts no
    reference but the pool's: nothing has to be given back, and what somebody keeps is never
    written over. Code that keeps a bare address without a reference is on its own.

    Args:
        prepared: arrays that are made and written to when a shape is first asked for, and kept,
            as far as `prepared_bytes` goes; one at least.
    """

    def __init__(self, prepared: int = PREPARED, prepared_bytes: int = PREPARED_BYTES) -> None:
        self._prepared, self._prepared_bytes = prepared, prepared_bytes
        self._owners: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A C-contiguous `uint8` array of that shape with any values, held by nobody else.

        Another shape than the last time drops all free arrays.
        """
        with self._lock:
            if not (self._owners and self._owners[0].shape == shape):
                self._owners = self._make(shape)
            free = self._free()
            if not free:
                self._owners.append(_map_memory(shape))
                return self._owners[-1].view()
            taken = self._owners[free[0]].view()
            self._drop(free[1:])
            return taken

    def _make(self, shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
        """The prepared arrays. Filled, because the system gives memory when it is written to."""
        made = [_map_memory(shape) for _ in range(self._capacity(shape))]
        for array in made:
            array.fill(0)
        return made

    def _capacity(self, shape: tuple[int, ...]) -> int:
        return max(1, min(self._prepared, self._prepared_bytes // max(1, math.prod(shape))))

    def _free(self) -> list[int]:
        count = len(self._owners)
        return [i for i in range(count) if _references(self._owners, i) == _FREE_REFERENCES]

    def _drop(self, free: list[int]) -> None:
        """Let go of those of the free arrays that were made for a busy moment."""
        excess = len(self._owners) - self._capacity(self._owners[0].shape)
        for index in reversed(free[SPARE:][-excess:] if excess > 0 else []):
            del self._owners[index]


def _map_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros in memory that goes back to the system with the array."""
    size = max(1, math.prod(shape))
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)  # private as it is
    else:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.ndarray(shape, np.uint8, memory)


def _references(owners: list[NDArray[np.uint8]], index: int) -> int:
    return sys.getrefcount(owners[index])


_FREE_REFERENCES = _references([np.empty(0, np.uint8)], 0)
"""What this Python counts for an array that nothing but the pool's list holds."""
