"""Chooses what is live: sessions begin and end on request, one at a time."""

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from rich.console import Console

from qlumen.errors import QlumenError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.sources.ffmpeg.addresses import without_secrets
from qlumen.realtime.view.live.messages import Request, Start, Stop
from qlumen.realtime.view.live.panel import Desk
from qlumen.system.closing import Closing

ENDED = "The session is over. Choose a source and start."
JOIN_SECONDS = 30.0


class Studio(Closing):
    """Runs sessions in a thread of its own from `start` to `close`.

    Args:
        desk: which shows them.
        sources: to choose from; the first one is started at once if `at_once`.
        outputs: of every session; without files that a second session could not write.
    """

    def __init__(
        self,
        desk: Desk,
        sources: Sequence[str],
        outputs: LiveOutputs,
        settings: Settings,
        console: Console,
    ) -> None:
        self._desk, self._sources, self._outputs = desk, tuple(sources), outputs
        self._settings, self._console = settings, console
        self._shown = [without_secrets(source) for source in sources]
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._session: LiveSession | None = None
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="view-studio", daemon=True)
        self._thread.start()

    def do(self, request: Request) -> None:
        """Do what a control asks; a session begins a moment later."""
        match request:
            case Start(source=index):
                if index < len(self._sources):
                    self.choose(index)
            case Stop():
                self.choose(None)
            case _:
                self._desk.do(request)

    def choose(self, index: int | None) -> None:
        """End what runs and show the source of this place in the list; None for none."""
        self._asked.put(index)
        with self._lock:
            if self._session is not None:
                self._session.stop()

    def state(self) -> dict[str, Any]:
        """The desk's, and the sources."""
        return self._desk.state() | {"sources": self._shown, "chooses": True}

    def close(self) -> None:
        """End the session and the thread."""
        self._closing = True
        self.choose(None)
        self._thread.join(JOIN_SECONDS)

    def _work(self) -> None:
        while not self._closing:
            index = self._asked.get()
            while not self._asked.empty():
                index = self._asked.get()
            if index is not None and not self._closing:
                self._show(self._sources[index])

    def _show(self, source: str) -> None:
        self._desk.clear(f"Starting {without_secrets(source)} ...")
        try:
            with LiveSession(source, self._outputs, self._settings, self._console) as session:
                self._begin(session)
                summary = session.run()
            self._desk.clear(f"{ENDED} ({summary.error})" if summary.error else ENDED)
        except QlumenError as error:
            self._desk.clear(without_secrets(str(error)))
        except Exception as error:  # noqa: BLE001 - the page must go on and say that it failed
            self._console.print_exception()
            self._desk.clear(f"The session failed: {type(error).__name__}.")
        finally:
            with self._lock:
                self._session = None

    def _begin(self, session: LiveSession) -> None:
        with self._lock:
            self._session = session
        self._desk.show(session)
        if not self._asked.empty():
            session.stop()
