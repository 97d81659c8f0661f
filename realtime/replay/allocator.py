"""How the C library handles the memory that FFmpeg takes and gives back with every frame."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of `mallopt(3)`, glibc."""
MAPPED_BYTES = 32 << 20
"""The most that glibc takes; a picture of 4K in BGR has 25 MB."""
KEPT_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Let pictures that FFmpeg gives back be used again, not returned to the system.

    A picture of 1080p has 1,500 pages, and each costs a fault when it is next written to. Set
    once for the whole process; up to 64 MiB that are free stay in it for each thread that
    allocates. Not for live video: pictures then lie between what else is allocated, and in
    ten minutes the process had grown by a quarter.

    Returns:
        Whether it was set: the C library has to be glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES) and libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    )
