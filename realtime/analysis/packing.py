"""Packs maps, flows and masks as bytes: rounds them to integers, and compresses without loss.

Rounding moves a probability by at most 1/131070. Every command rounds in the same way, so that
findings made from stored maps are those of the run that stored them, bit by bit.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ReviewError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.tracking.motion import FLOW_UNIT, Flow

LEVELS = 65535
"""Stored value of probability 1."""
ZLIB_LEVEL = 1
"""Higher levels take three times as long and save a tenth."""


def pack_map(probability: NDArray[np.float32]) -> bytes:
    """Store `(h, w) float32`, clamped to 0..1; NaN counts as 0."""
    return _compress(_levels(probability).astype("<u2"))


def unpack_map(data: bytes, size: tuple[int, int]) -> NDArray[np.float32]:
    """Give back `(height, width) float32`, C-contiguous. Raise ReviewError for other bytes."""
    width, height = size
    levels = _expand(data, "<u2", (height, width))
    return levels.astype(np.float32) / np.float32(LEVELS)


def round_map(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round a map to what `unpack_map(pack_map(...))` gives back."""
    return _levels(probability).astype(np.float32) / np.float32(LEVELS)


def pack_flow(flow: Flow) -> bytes:
    """Store `(h, w, 2) float32` in multiples of `FLOW_UNIT`, as `reduce_flow` returns them."""
    return _compress(np.rint(flow / FLOW_UNIT).astype("<i2"))


def unpack_flow(data: bytes, size: tuple[int, int]) -> Flow:
    """Give back `(height, width, 2) float32`, in cells. Raise ReviewError for other bytes."""
    width, height = size
    steps = _expand(data, "<i2", (height, width, 2))
    return steps.astype(np.float32) * np.float32(FLOW_UNIT)


def pack_mask(mask: Mask) -> bytes:
    """Store a mask `(h, w) uint8`, not 0 inside."""
    return zlib.compress(np.packbits(mask).data, ZLIB_LEVEL)


def unpack_mask(data: bytes, size: tuple[int, int]) -> Mask:
    """Give back `(height, width) uint8` of 0 and 1. Raise ReviewError for other bytes."""
    width, height = size
    bits = _expand(data, "u1", (-(-width * height // 8),))
    return np.unpackbits(bits.view(np.uint8), count=width * height).reshape(height, width)


def _levels(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.rint(np.fmin(np.fmax(probability, 0), 1) * np.float32(LEVELS))


def _compress(values: NDArray[np.generic]) -> bytes:
    """Compress high bytes apart from low ones, because high bytes repeat more."""
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).data, ZLIB_LEVEL)


def _expand(data: bytes, kind: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Unpack one byte more than the shape needs at most, whatever `data` claims."""
    wanted = int(np.prod(shape)) * np.dtype(kind).itemsize
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, wanted + 1)
    except zlib.error as error:
        raise ReviewError(f"a stored map is damaged ({error}); make the review again") from None
    if len(raw) != wanted:
        raise ReviewError(
            f"a stored map has {len(raw)} bytes instead of {wanted}; make the review again"
        )
    planes = np.frombuffer(raw, np.uint8).reshape(np.dtype(kind).itemsize, -1)
    return np.ascontiguousarray(planes.T).view(kind).reshape(shape)
