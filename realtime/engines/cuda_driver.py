"""Calls NVIDIA's driver by its C interface: cards, a context, memory, copies and one stream.

The driver brings the library and keeps these functions (`cuda.h`), so nothing is to be installed,
and a machine without any extra can list its cards. cuda-bindings has them too, in 31 MB.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL, byref, c_int, c_size_t, c_uint64, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import EngineError
from qlumen.system.closing import Closing

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76
"""`CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`."""
NON_BLOCKING = 1
"""`CU_STREAM_NON_BLOCKING`: the stream does not wait for the default stream of other libraries."""
NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """Describes an NVIDIA GPU whose driver answers.

    Attributes:
        driver: version of the driver, or the newest CUDA that it can run.
        memory_mib: whole memory; None for a GPU that shares the machine's.
        capability: compute capability, such as `8.9`; empty if unknown.
    """

    name: str
    driver: str
    memory_mib: int | None
    capability: str = ""


class CudaDevice(Closing):
    """Holds the context of a GPU, one stream and memory, until it is closed.

    Raises:
        EngineError: there is no driver or no such GPU, or the driver fails. All methods raise it.
    """

    def __init__(self, index: int = 0) -> None:
        count = _integer("cuDeviceGetCount")
        if index >= count:
            raise EngineError(f"NVIDIA's driver finds {count} GPUs, not number {index}")
        self._device, self._memory = _integer("cuDeviceGet", index), list[c_uint64]()
        self.gpu = _describe(self._device)
        self._context, self._stream = c_void_p(), c_void_p()
        _call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        with self.current():
            _call("cuStreamCreate", byref(self._stream), NON_BLOCKING)

    @property
    def stream(self) -> int:
        """Return the stream's handle for other libraries."""
        return self._stream.value or 0

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU that of the calling thread, as the calls below need it."""
        _call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            _call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU."""
        address = c_uint64()
        _call("cuMemAlloc_v2", byref(address), c_size_t(size))
        self._memory.append(address)
        return address.value

    def upload(self, source: NDArray[Any], address: int) -> None:
        """Copy a contiguous array to the GPU, after what the stream does already."""
        host, size = c_void_p(source.ctypes.data), c_size_t(source.nbytes)
        _call("cuMemcpyHtoDAsync_v2", c_uint64(address), host, size, self._stream)

    def download(self, address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Wait for the stream and return float32 values from the GPU."""
        target = np.empty(shape, np.float32)
        host, size = c_void_p(target.ctypes.data), c_size_t(target.nbytes)
        _call("cuMemcpyDtoHAsync_v2", host, c_uint64(address), size, self._stream)
        _call("cuStreamSynchronize", self._stream)
        return target

    def close(self) -> None:
        if not self._context:
            return
        with self.current():
            _call("cuStreamSynchronize", self._stream)
            for address in self._memory:
                _call("cuMemFree_v2", address)
            _call("cuStreamDestroy_v2", self._stream)
        self._context = c_void_p()
        _call("cuDevicePrimaryCtxRelease_v2", self._device)


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that the driver lists; empty without a driver or where it fails."""
    try:
        indices = range(_integer("cuDeviceGetCount"))
        return tuple(_describe(_integer("cuDeviceGet", index)) for index in indices)
    except EngineError:
        return ()


def _describe(device: int) -> Gpu:
    name, memory = create_string_buffer(NAME_BYTES), c_size_t()
    _call("cuDeviceGetName", name, NAME_BYTES, device)
    _call("cuDeviceTotalMem_v2", byref(memory), device)
    major, minor = (_integer("cuDeviceGetAttribute", what, device) for what in (MAJOR, MINOR))
    cuda = _integer("cuDriverGetVersion")
    driver = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    return Gpu(name.value.decode(), driver, memory.value >> 20, f"{major}.{minor}")


def _integer(name: str, *arguments: int) -> int:
    value = c_int()
    _call(name, byref(value), *arguments)
    return value.value


def _call(name: str, *arguments: Any) -> None:
    code = getattr(_load(), name)(*arguments)
    if code:
        raise EngineError(f"NVIDIA's driver failed: {name} gave CUDA error {code}")


@cache
def _load() -> CDLL:
    try:
        driver = CDLL(LIBRARY)
    except OSError:
        raise EngineError(
            f"NVIDIA's driver is not here: {LIBRARY} does not load; install it, or set "
            "engine.name=auto"
        ) from None
    if driver.cuInit(0):
        raise EngineError("NVIDIA's driver is here, but it finds no GPU that it can use")
    return driver
