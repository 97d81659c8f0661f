"""Holds all Numba options, in two decorators, and finds the folder of compiled code."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
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
    """Compile `function` in nopython mode, without the GIL, cached on disk where that is possible.

    Division by zero gives inf or nan as in NumPy, and arithmetic is strict: kernels
    are compared bit by bit with their oracles.
    """
    return _compile(function)


def fast_kernel(function: F) -> F:
    """Compile like `kernel`, with floating-point reordering: for images, not for figures."""
    return _compile(function, fastmath=True)


def _compile(function: F, **options: bool) -> F:
    compiled = numba.njit(cache=CACHED, nogil=True, error_model="numpy", **options)(function)
    if cache := getattr(compiled, "_cache", None):  # none where NUMBA_DISABLE_JIT is set
        save = cache.save_overload

        def save_if_there_is_room(signature: object, code: object) -> None:
            with suppress(OSError):  # a full disk must not keep the kernel from running
                save(signature, code)

        cache.save_overload = save_if_there_is_room
    return compiled


def _can_hold_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


numba.config.CACHE_DIR = str(cache_dir())
CACHED = _can_hold_files(cache_dir())
"""Whether compiled kernels are kept; not in a read-only home without `QLUMEN_CACHE`."""
