"""The page beside a session that runs anyway: `qlumen live --view`."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.live.panel import Desk
from qlumen.realtime.view.security.access import Access, read_access, warning
from qlumen.realtime.view.site import Site


@contextmanager
def page(settings: Settings, console: Console) -> Iterator[Desk]:
    """Serve the page while the block runs; the block gives its session to the desk.

    Raises:
        QlumenError: as `read_access` and `Site`.
    """
    access = read_access(settings.view)
    desk = Desk(settings)
    with Site(access, desk, desk, settings) as site:
        say_where(site, access, console)
        yield desk


def say_where(site: Site, access: Access, console: Console) -> None:
    """Print the address, and what the user should know of it."""
    for line in (f"the page is at {site.url}", warning(access)):
        if line:
            console.print(f"qlumen view: {line}", highlight=False, soft_wrap=True)
