"""An engine whose library computes a frame in the thread that asks: threads of its own ask."""

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Semaphore

from qlumen.errors import EngineError
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.pixels.arrays import Image
from qlumen.system.threads import start_pool


class WorkerEngine(Engine):
    """Runs `_compute` in `streams` threads.

    Args:
        streams: frames that are computed side by side.
        requests: frames in flight, those that wait for a thread included.
        prepare: called once in each thread.
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
        """The map of a frame, an array of its own; called in several threads at once.

        Raises:
            EngineError: the library failed.
        """


class _Pending(Ticket):
    def __init__(self, future: "Future[Probability]", free: Semaphore) -> None:
        self._future, self._free = future, free

    def result(self) -> Probability:
        try:
            return self._future.result()
        finally:
            self._free.release()

    def discard(self) -> None:
        with suppress(EngineError):
            self.result()
