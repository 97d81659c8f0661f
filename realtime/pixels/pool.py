"""Keeps arrays of whole images and hands them out again when nobody holds them.

One thread makes an image, others read it, and the last one drops it. Images that go back to the
allocator leave gaps between other objects, so memory grows for minutes. Images that go back to
the system cost a page fault every 4 KiB at the next write (1080p: 6,000 a frame, 12 ms). Arrays
in this pool cost neither.

The arrays that a replay needs are made at the start. If they were made one by one at each new
peak, memory would grow for minutes. A busy moment needs more, such as frames that wait for a slow
output; these go back to the system later. Each array has its own mapping for this, because
`malloc` may keep memory that it gets back.
"""

import math
import mmap
import sys
import threading

import numpy as np
from numpy.typing import NDArray

PREPARED = 12
"""Images in use at the same time in a replay with full queues, if all are needed in BGR."""
PREPARED_BYTES = 72 << 20
"""Limit for the prepared arrays: twelve images of 1080p."""
SPARE = 2
"""Free arrays that are kept when more than the prepared arrays are in use."""


class FramePool:
    """Hands out arrays of one shape at a time; several threads may share it.

    `take` returns a view of an array that the pool keeps. NumPy makes each further view, slice
    or memoryview hold that array too, so it is free when CPython counts only the pool's
    reference. Nothing has to be given back, and an array in use is never overwritten. The pool
    cannot protect code that keeps a bare address without a reference.

    Args:
        prepared: number of arrays that are made, written to and kept when a shape is first
            needed, as far as `prepared_bytes` allows; at least one.
    """

    def __init__(self, prepared: int = PREPARED, prepared_bytes: int = PREPARED_BYTES) -> None:
        self._prepared, self._prepared_bytes = prepared, prepared_bytes
        self._owners: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return a C-contiguous `uint8` array of that shape with any values, held by nobody else.

        A shape that differs from the last one drops all free arrays.
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
        """Make the prepared arrays and fill them: the system gives memory at the first write."""
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
        """Drop the free arrays that were made for a busy moment."""
        excess = len(self._owners) - self._capacity(self._owners[0].shape)
        for index in reversed(free[SPARE:][-excess:] if excess > 0 else []):
            del self._owners[index]


def _map_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return zeros in memory that goes back to the system with the array."""
    size = max(1, math.prod(shape))
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)  # always private there
    else:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.ndarray(shape, np.uint8, memory)


def _references(owners: list[NDArray[np.uint8]], index: int) -> int:
    return sys.getrefcount(owners[index])


_FREE_REFERENCES = _references([np.empty(0, np.uint8)], 0)
"""References that this Python counts for an array that only the pool's list holds."""
