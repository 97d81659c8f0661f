"""Serves the page of several rooms: a grid, and the live page of each room behind its own gate.

`/` is the grid, and `/rooms/NAME/` a room. A room with its own password has its own logins. The
others share those of the grid.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from rich.console import Console
from starlette.types import ASGIApp, Receive, Scope, Send

from qlumen.realtime.config.rooms import Room
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.tab import HEAD, live_tab
from qlumen.realtime.view.security.access import read_access
from qlumen.realtime.view.security.login import LOGOUT, Throttle, login_routes
from qlumen.realtime.view.security.middleware import MAX_BODY_BYTES, Gate
from qlumen.realtime.view.security.passwords import Password, read_password
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.server import Server, open_listener
from qlumen.realtime.view.site import print_address
from qlumen.realtime.view.tabs import PageContext, read_static

ROOMS = "/rooms/"
TILE = '<div><iframe src="rooms/{name}/" inert></iframe><a href="rooms/{name}/">{name}</a></div>'


@contextmanager
def open_rooms_page(rooms: Sequence[Room], console: Console) -> Iterator[list[LivePanel]]:
    """Serve the page while the block runs. Yield a panel for each room.

    Raises:
        UsageError: as `read_access`, or the address cannot be used.
        OSError: a file cannot be read.
    """
    view = rooms[0].settings.view
    access = read_access(view)
    panels = [LivePanel(room.settings) for room in rooms]
    files = [room.section.password_file for room in rooms]
    passwords = [read_password(file) if file else None for file in files]
    with open_listener(access.host, access.port) as listener:
        port = listener.getsockname()[1]
        logins = Logins(access.password, f"qlumen_{port}", Sessions(view.session_hours))
        page = RoomsPage(view.root_path, access.secure, logins)
        for room, password, panel in zip(rooms, passwords, panels, strict=True):
            page.add(room, panel, password)
        with Server(page, listener, access.certificate, access.key) as server:
            server.start()
            print_address(access.url(port, view.root_path), access, console)
            yield panels


@dataclass(frozen=True, slots=True)
class Logins:
    """Holds what pages with the same password share."""

    password: Password | None
    cookie: str
    sessions: Sessions
    throttle: Throttle = field(default_factory=Throttle)


class RoomsPage:
    """Sends each request to the gate of its room, or to that of the grid, as an ASGI app."""

    def __init__(self, root_path: str, secure: bool, logins: Logins) -> None:
        self._root, self._secure, self._logins = root_path, secure, logins
        self._doors: dict[str, ASGIApp] = {}
        grid = APIRouter()
        grid.add_api_route("/", self._grid, response_class=HTMLResponse)
        self._grid_door = self._make_door(grid, logins, root_path, root_path)

    def add(self, room: Room, panel: LivePanel, password: Password | None) -> None:
        """Add the live page of a room; without a password of its own it has that of the grid."""
        name, logins, cookie_path = room.section.name, self._logins, self._root
        path = f"{self._root}{ROOMS}{name}"
        if password is not None:
            sessions = Sessions(room.settings.view.session_hours)
            logins, cookie_path = Logins(password, f"{logins.cookie}_{name}", sessions), path
        tab = live_tab(PageContext(room.settings, logins.sessions, Path()), panel, panel)
        assert tab.routes is not None
        page = read_static("room.html").replace("{name}", name).replace("{head}", HEAD)
        page = page.replace("{live}", read_static("live.html"))
        tab.routes.add_api_route("/", lambda: HTMLResponse(page), response_class=HTMLResponse)
        self._doors[name] = self._make_door(tab.routes, logins, path, cookie_path, tab.prefix)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, path = self._grid_door, str(scope.get("path", ""))
        path = path.removeprefix(self._root) if path.startswith(f"{self._root}/") else path
        name, slash, rest = path.removeprefix(ROOMS).partition("/")
        if path.startswith(ROOMS) and slash and name in self._doors:
            door = self._doors[name]
            scope = {**scope, "path": f"/{rest}", "raw_path": quote(f"/{rest}").encode()}
        await door(scope, receive, send)

    def _grid(self) -> HTMLResponse:
        tiles = "".join(TILE.format(name=name) for name in self._doors)
        return HTMLResponse(read_static("rooms.html").replace("{tiles}", tiles))

    def _make_door(
        self, routes: APIRouter, logins: Logins, path: str, cookie_path: str, *prefixes: str
    ) -> ASGIApp:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(routes)
        password, sessions = logins.password, logins.sessions
        gate = Gate(
            app,
            prefixes=(*prefixes, *((LOGOUT,) if password else ())),
            sessions=sessions,
            cookie=logins.cookie,
            secure=self._secure,
            password=password is not None,
            upload_bytes=MAX_BODY_BYTES,
            root_path=path,
            cookie_path=cookie_path,
        )
        if password:
            logging_in = login_routes(password, sessions, gate.set_cookie, path, logins.throttle)
            app.include_router(logging_in)
        return gate
