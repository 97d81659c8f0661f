"""Everything of the page put together: tabs, application, server."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.app import make_page
from qlumen.realtime.view.live.panel import Desk
from qlumen.realtime.view.live.stream import Steered
from qlumen.realtime.view.live.tab import live_tab
from qlumen.realtime.view.reviews.tab import recordings_tab
from qlumen.realtime.view.security.access import Access
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.server import Server, listening
from qlumen.realtime.view.tabs import Surroundings, Tab
from qlumen.system.closing import Closing

MakeTab = Callable[[Surroundings], Tab]
MORE_TABS: tuple[MakeTab, ...] = (recordings_tab,)
"""Beside the live one, in this order."""


class Site(Closing):
    """Serves the page from its making to `close`.

    Args:
        desk: whose picture is shown. steered: what the controls reach.

    Attributes:
        url: of the page, without a slash at its end.

    Raises:
        UsageError: nothing can listen where `access` says.
    """

    def __init__(self, access: Access, desk: Desk, steered: Steered, settings: Settings) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(listening(access.host, access.port))
            port = listener.getsockname()[1]
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="qlumen-view-")))
            sessions = Sessions(settings.view.session_hours)
            surroundings = Surroundings(settings, sessions, scratch)
            tabs = [live_tab(surroundings, desk, steered)]
            tabs += [make(surroundings) for make in MORE_TABS]
            for tab in tabs:
                stack.callback(tab.close)
            page = make_page(
                tabs, surroundings, password=access.password, port=port, secure=access.secure
            )
            server = Server(page, listener, access.certificate, access.key)
            stack.enter_context(server)
            server.start()
            self._closing = stack.pop_all()
        host = f"[{access.host}]" if ":" in access.host else access.host
        self.url = f"{'https' if access.secure else 'http'}://{host}:{port}"

    def close(self) -> None:
        self._closing.close()
