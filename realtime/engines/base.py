"""Defines the interface of all engines: a compiled network of one static shape."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError, EngineError
from qlumen.networks.bundle import Precision
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.pixels.arrays import Image
from qlumen.system.closing import Closing
from qlumen.system.threads import start_pool

Probability = NDArray[np.float32]
OPENING = Lock()
"""Held while an engine opens on an NVIDIA GPU: allocations of another one break a CUDA graph."""


class Ticket(ABC):
    """Represents a frame in flight; it ends with one call of `result` or of `discard`."""

    @abstractmethod
    def result(self) -> Probability:
        """Wait for the network and return its `(h, w) float32` map, 0 to 1, a copy.

        A network with other classes gives `(1 + k, h, w)`, theirs behind the first map.
        """

    def discard(self) -> None:
        """Wait for the network and ignore its map."""
        with suppress(EngineError):
            self.result()


class Engine(Closing, ABC):
    """Runs the network of a bundle on images of one size.

    Attributes:
        input_size, output_size: width and height in pixels.
        requests: number of frames that may be in flight; with more, `submit` waits.
        reason: why this engine was chosen, if the settings did not name it.
    """

    input_size: tuple[int, int]
    output_size: tuple[int, int]
    requests: int
    reason: str = ""

    @abstractmethod
    def submit(self, image: Image) -> Ticket:
        """Start on `(H, W, 3) uint8` BGR at `input_size`; the array must not change meanwhile.

        Raises:
            EngineError: the image has another shape, type or layout, or the engine is closed.
        """

    def infer(self, image: Image) -> Probability:
        """Submit an image and wait for its map."""
        return self.submit(image).result()

    def warm_up(self, runs: int = 3) -> None:
        """Run on a black image, so that everything is allocated before the first frame."""
        width, height = self.input_size
        black = np.zeros((height, width, 3), np.uint8)
        for _ in range(runs):
            self.infer(black)

    def describe(self) -> dict[str, Any]:
        """Return name, version, device and settings, for summaries; `reason` where there is one."""
        return self._about() | ({"reason": self.reason} if self.reason else {})

    @abstractmethod
    def _about(self) -> dict[str, Any]:
        """Return what `describe` returns, without the reason."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the frames in flight and release the network; may be called twice."""

    def closed_error(self) -> EngineError:
        """Return the error for `submit` after `close`."""
        return EngineError("the engine is closed; open another one")

    def check_input(self, image: Image) -> None:
        """Raise EngineError unless `image` is valid for `submit`."""
        width, height = self.input_size
        wanted = (height, width, 3)
        if image.shape != wanted or image.dtype != np.uint8 or not image.flags.c_contiguous:
            layout = "contiguous" if image.flags.c_contiguous else "not contiguous"
            raise EngineError(
                f"engine input is {image.shape} {image.dtype}, {layout}; "
                f"it needs {wanted} uint8, contiguous: resize the frame with Preprocessor"
            )


class WorkerEngine(Engine):
    """Runs `_compute` in `streams` threads.

    Args:
        streams: number of frames that are computed side by side.
        requests: number of frames in flight, with those that wait for a thread.
        prepare: function that each thread calls once.
    """

    def __init__(
        self,
        input_size: tuple[int, int],
        output_size: tuple[int, int],
        *,
        streams: int,
        requests: int,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.input_size, self.output_size, self.requests = input_size, output_size, requests
        self._free = Semaphore(requests)
        self._closed = False
        self._threads = start_pool("engine", streams, prepare)

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        if self._closed:
            raise self.closed_error()
        self._free.acquire()
        return _Pending(self._threads.submit(self._compute, image), self._free)

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=True)

    @abstractmethod
    def _compute(self, image: Image) -> Probability:
        """Return the map of a frame in a new array; several threads call this at the same time.

        Raises:
            EngineError: the library failed.
        """


def gpu_precision(settings: EngineSettings) -> Precision:
    """Return the precision on an NVIDIA GPU, f16 if the settings name none.

    Against `f32`, `f16` changes the masks of 1 pixel in 10,000 and `bf16` those of 26.

    Raises:
        ConfigError: the settings name `bf16`.
    """
    if settings.precision == "bf16":
        raise ConfigError(
            "engine.precision=bf16 is not for NVIDIA GPUs, where it would draw other masks; "
            "use f16, or null"
        )
    return settings.precision or "f16"


def drain(free: "SimpleQueue[Any]") -> None:
    """Release all requests, and with them the network and its threads.

    Requests that still exist when the interpreter ends can abort the process.
    """
    with suppress(Empty):
        while True:
            free.get_nowait()


class _Pending(Ticket):
    def __init__(self, future: "Future[Probability]", free: Semaphore) -> None:
        self._future, self._free = future, free

    def result(self) -> Probability:
        try:
            return self._future.result()
        finally:
            self._free.release()
