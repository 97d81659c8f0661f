"""The page as a whole: its tabs, application and server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.app import make_page
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.tab import Steered, live_tab
from qlumen.realtime.view.reviews.tab import recordings_tab
from qlumen.realtime.view.security.access import Access, read_access, warning
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
        panel: whose picture is shown.
        steered: what the controls reach.

    Attributes:
        url: of the page, without a slash at its end.

    Raises:
        UsageError: nothing can listen where `access` says.
    """

    def __init__(
        self, access: Access, panel: LivePanel, steered: Steered, settings: Settings
    ) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(listening(access.host, access.port))
            port = listener.getsockname()[1]
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="qlumen-view-")))
            sessions = Sessions(settings.view.session_hours)
            surroundings = Surroundings(settings, sessions, scratch)
            tabs = [live_tab(surroundings, panel, steered)]
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


@contextmanager
def open_page(settings: Settings, console: Console) -> Iterator[LivePanel]:
    """Serve the page while the block runs, for a session that runs anyway: `qlumen live --view`.
    The block gives the session to the panel.

    Raises:
        QlumenError: as `read_access` and `Site`.
    """
    access = read_access(settings.view)
    panel = LivePanel(settings)
    with Site(access, panel, panel, settings) as site:
        print_address(site, access, console)
        yield panel


def print_address(site: Site, access: Access, console: Console) -> None:
    """Print where the page is, and what the user should know of it."""
    for line in (f"the page is at {site.url}", warning(access)):
        if line:
            console.print(f"qlumen view: {line}", highlight=False, soft_wrap=True)
