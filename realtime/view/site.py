"""Assembles the page from its tabs, application and server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.annotate.tab import annotate_tab
from qlumen.realtime.view.app import make_page
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.tab import Controller, live_tab
from qlumen.realtime.view.reviews.open_recordings import OpenRecordings
from qlumen.realtime.view.reviews.tab import recordings_tab
from qlumen.realtime.view.security.access import Access, read_access, warning
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.server import Server, open_listener
from qlumen.realtime.view.tabs import PageContext, Tab
from qlumen.system.closing import Closing

MakeTab = Callable[[PageContext, OpenRecordings], Tab]
MORE_TABS: tuple[MakeTab, ...] = (recordings_tab, annotate_tab)
"""Tabs after the live tab, in this order."""


class Site(Closing):
    """Serves the page from its creation to `close`.

    Args:
        panel: panel whose video is shown.
        controller: receiver of what the controls ask.

    Attributes:
        url: address of the page, without a slash at its end.

    Raises:
        UsageError: the address of `access` cannot be used.
    """

    def __init__(
        self, access: Access, panel: LivePanel, controller: Controller, settings: Settings
    ) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(open_listener(access.host, access.port))
            port = listener.getsockname()[1]
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="qlumen-view-")))
            sessions = Sessions(settings.view.session_hours)
            recordings = stack.enter_context(OpenRecordings(settings, sessions))
            context = PageContext(settings, sessions, scratch)
            tabs = [live_tab(context, panel, controller)]
            tabs += [make(context, recordings) for make in MORE_TABS]
            for tab in tabs:
                stack.callback(tab.close)
            page = make_page(
                tabs, context, password=access.password, port=port, secure=access.secure
            )
            server = Server(page, listener, access.certificate, access.key)
            stack.enter_context(server)
            server.start()
            self._closing = stack.pop_all()
        self.url = access.url(port, settings.view.root_path)

    def close(self) -> None:
        self._closing.close()


@contextmanager
def open_page(settings: Settings, console: Console) -> Iterator[LivePanel]:
    """Serve the page while the block runs, for the session of `qlumen live --view`.

    The block gives its session to the panel. Raises QlumenError as `read_access` and `Site`.
    """
    access = read_access(settings.view)
    panel = LivePanel(settings)
    with Site(access, panel, panel, settings) as site:
        print_address(site.url, access, console)
        yield panel


def print_address(url: str, access: Access, console: Console) -> None:
    """Print the page's address, and the warning about its access if there is one."""
    for line in (f"the page is at {url}", warning(access)):
        if line:
            console.print(f"qlumen view: {line}", highlight=False, soft_wrap=True)
