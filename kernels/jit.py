"""Holds all Numba options, in two decorators, and finds the folder of compiled code."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba

from qlumen.kernels.cache_root import cache_root

F = TypeVar("F", bound=Callable[..., object])


def cache_dir() -> Path:
    """Return the folder for compiled kernels: `NUMBA_CACHE_DIR`, else one in `cache_root`.

    Numba's own default is a `__pycache__` beside the source, which leaves files in site-packages.
    Numba also does not notice when a kernel that another one calls has changed. So the user's
    cache has a folder for each state of the kernels' sources.
    """
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    return cache_root() / "numba" / _sources_hash()


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kernel(function: F) -> F:
    """Compile `function` in nopython mode, without the GIL, cached on disk.

    Division by zero gives inf or nan as in NumPy, and arithmetic is strict: kernels
    are compared bit by bit with their oracles.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def fast_kernel(function: F) -> F:
    """Compile like `kernel`, with floating-point reordering: for images, not for figures."""
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)(function)


numba.config.CACHE_DIR = str(cache_dir())
