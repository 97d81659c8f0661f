"""Opens the network once for several sources, and replaces it when it has failed."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.closing import Closing

HUNG_SECONDS = 1.0
"""An engine that works on one frame for longer is replaced when it is opened again."""


class SharedNetwork(Closing):
    """Holds the engine for all who open it, until all of them and it itself are closed.

    Raises:
        QlumenError: the network cannot be opened.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._opened = _Opened(Segmenter.open(bundle, settings, live=True))

    def open(self, bundle: Bundle, settings: Settings) -> Segmenter:
        """Return a segmenter with thresholds of its own on the shared engine.

        If the engine has raised an error, or hangs, a new one takes its place. The old one is
        closed when the last one who uses it is.
        """
        with self._lock:
            if self._opened.failed or self._opened.hangs():
                fresh = _Opened(Segmenter.open(bundle, settings, live=True))
                self._release(self._opened)
                self._opened = fresh
            own = self._opened.segmenter.with_thresholds(bundle, settings)
            self._opened.users += 1
            return replace(own, engine=_LeasedEngine(self._opened, self._release_lease))

    def close(self) -> None:
        self._release_lease(self._opened)

    def _release_lease(self, opened: "_Opened") -> None:
        with self._lock:
            self._release(opened)

    def _release(self, opened: "_Opened") -> None:
        opened.users -= 1
        if opened.users == 0:
            opened.segmenter.close()


@dataclass(slots=True, eq=False)
class _Opened:
    segmenter: Segmenter
    users: int = 1
    failed: bool = False
    busy: dict[object, float] = field(default_factory=dict)

    def hangs(self) -> bool:
        since = time.monotonic() - HUNG_SECONDS
        return any(begun < since for begun in self.busy.copy().values())

    def submit(self, image: Image) -> Ticket:
        frame = object()
        self.busy[frame] = time.monotonic()
        return _Watched(self, frame, self.watch(frame, lambda: self.segmenter.engine.submit(image)))

    def watch(self, frame: object, work: Callable[[], Any]) -> Any:
        """Do the work, and remember whether it failed."""
        try:
            return work()
        except BaseException:
            self.failed = True
            self.busy.pop(frame)
            raise


class _Watched(Ticket):
    def __init__(self, opened: _Opened, frame: object, ticket: Ticket) -> None:
        self._opened, self._frame, self._ticket = opened, frame, ticket

    def result(self) -> Probability:
        probability: Probability = self._opened.watch(self._frame, self._ticket.result)
        self._opened.busy.pop(self._frame)
        return probability


class _LeasedEngine(Engine):
    """Passes frames on to the shared engine; `close` only gives it back."""

    def __init__(self, opened: _Opened, release: Callable[[_Opened], None]) -> None:
        engine = opened.segmenter.engine
        self.input_size, self.output_size = engine.input_size, engine.output_size
        self.requests, self.reason = engine.requests, engine.reason
        self._opened: _Opened | None = opened
        self._release = release

    def submit(self, image: Image) -> Ticket:
        if self._opened is None:
            raise self.closed_error()
        return self._opened.submit(image)

    def _about(self) -> dict[str, Any]:
        return {} if self._opened is None else self._opened.segmenter.engine.describe()

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            self._release(opened)
