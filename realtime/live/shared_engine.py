"""Opens the engine once for several sources, and again when one of them gave it up."""

from threading import Lock
from typing import Any

from qlumen.errors import QlumenError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine, Ticket
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.closing import Closing


class SharedEngine(Closing):
    """Holds the newest engine. An engine is closed with the last one who uses it.

    Raises:
        QlumenError: the engine cannot be opened.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self._bundle, self._settings, self._lock = bundle, settings, Lock()
        self._users: dict[Engine, int] = {}
        self._newest = self._open()

    def segmenter(self, user: "User", bundle: Bundle, settings: Settings) -> Segmenter:
        """Open a segmenter of the user's own upon the newest engine.

        A user that already had it gave it up, because it failed or hung. Then a new one is opened.
        Others get that one when they come back, and keep the old one until then.
        """
        with self._lock:
            if user.had is self._newest:
                fresh = self._open()
                self._release(self._newest)
                self._newest = fresh
            user.had = self._newest
            self._users[self._newest] += 1
            leased = _LeasedEngine(self, self._newest)
        try:
            return Segmenter.open(bundle, settings, engine=leased)
        except QlumenError:
            leased.close()
            raise

    def close(self) -> None:
        self.release(self._newest)

    def release(self, engine: Engine) -> None:
        """Close the engine if nobody else uses it."""
        with self._lock:
            self._release(engine)

    def _open(self) -> Engine:
        engine = open_engine(self._bundle, self._settings, live=True)
        self._users[engine] = 1
        return engine

    def _release(self, engine: Engine) -> None:
        self._users[engine] -= 1
        if not self._users[engine]:
            del self._users[engine]
            engine.close()


class User:
    """Remembers the engine that a source had last."""

    had: Engine | None = None


class _LeasedEngine(Engine):
    def __init__(self, shared: SharedEngine, engine: Engine) -> None:
        self.input_size, self.output_size = engine.input_size, engine.output_size
        self.requests, self.reason = engine.requests, engine.reason
        self._shared, self._engine, self._open = shared, engine, True

    def submit(self, image: Image) -> Ticket:
        if not self._open:
            raise self.closed_error()
        return self._engine.submit(image)

    def _about(self) -> dict[str, Any]:
        return self._engine.describe()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._shared.release(self._engine)
