"""Starts and ends live sessions on request, one at a time."""

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from rich.console import Console

from qlumen.errors import QlumenError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.view.live.messages import Request, Start, Stop
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.system.closing import Closing
from qlumen.system.locations import show_location, without_secrets
from qlumen.system.threads import start

ENDED = "The session is over. Choose a source and press Start."
JOIN_SECONDS = 30.0


class SessionRunner(Closing):
    """Runs sessions in a thread of its own until `close`.

    Args:
        panel: panel that shows the sessions.
        sources: sources that `choose` can start.
        outputs: outputs of every session; without files that a second session could not write.
    """

    def __init__(
        self,
        panel: LivePanel,
        sources: Sequence[str],
        outputs: LiveOutputs,
        settings: Settings,
        console: Console,
    ) -> None:
        self._panel, self._sources, self._outputs = panel, tuple(sources), outputs
        self._settings, self._console = settings, console
        shown = [show_location(source) for source in sources]
        alike = {name for name in shown if shown.count(name) > 1}
        self._shown = [
            f"{name} ({number})" if name in alike else name for number, name in enumerate(shown, 1)
        ]
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._session: LiveSession | None = None
        self._closing = False
        self._lock = threading.Lock()
        self._thread = start("sessions", self._work)

    def do(self, request: Request) -> None:
        """Do what a control asks; a session begins a moment later."""
        match request:
            case Start(source=index):
                if index < len(self._sources):
                    self.choose(index)
            case Stop():
                self.choose(None)
            case _:
                self._panel.do(request)

    def choose(self, index: int | None) -> None:
        """End the running session and show the source at this place; None shows no source."""
        self._asked.put(index)
        with self._lock:
            if self._session is not None:
                self._session.stop()

    def state(self) -> dict[str, Any]:
        """Return the panel's state with the names of the sources."""
        return self._panel.state() | {"sources": self._shown, "chooses": True}

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
        self._panel.clear(f"Starting {show_location(source)} ...")
        try:
            with LiveSession(
                source,
                self._outputs,
                self._settings,
                self._console,
                runners=(self._panel.open_runner,),
            ) as session:
                with self._lock:
                    self._session = session
                self._panel.show(session)
                if not self._asked.empty():
                    session.stop()
                summary = session.run()
            self._panel.clear(f"{ENDED} ({summary.error})" if summary.error else ENDED)
        except QlumenError as error:
            self._panel.clear(without_secrets(str(error)))
        except Exception as error:  # noqa: BLE001 - the page must go on and say that it failed
            self._console.print_exception()
            self._panel.clear(f"The session failed ({type(error).__name__}). See the terminal.")
        finally:
            with self._lock:
                self._session = None
