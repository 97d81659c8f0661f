"""The tab with the live picture, its controls and figures, and the socket that carries them.

A binary message is a picture: its number, then the frame's index (8 bytes each, little
endian), then the JPEG. A text message is the state as JSON. What the browser says is in
`messages`.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.websockets import WebSocketState

from qlumen.errors import SinkError
from qlumen.realtime.view.live.feed import Feed, Viewer
from qlumen.realtime.view.live.gallery import Gallery
from qlumen.realtime.view.live.messages import Drawn, Request, said
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.security.middleware import SESSION_KEY
from qlumen.realtime.view.security.sessions import Session
from qlumen.realtime.view.tabs import Surroundings, Tab, add_files, build_html

HEAD = (
    '<link rel="stylesheet" href="/live/live.css">'
    '<script type="module" src="/live/live.js"></script>'
)
KINDS = {"live.js": "text/javascript", "plot.js": "text/javascript", "live.css": "text/css"}
PICTURE_HEAD = struct.Struct("<QQ")
STATE_SECONDS = 0.25
SPOKE_NONSENSE, TOO_MANY, LOGGED_OUT = 1008, 1013, 4401


class Steered(Protocol):
    """What the controls reach."""

    def do(self, request: Request) -> None: ...

    def state(self) -> dict[str, Any]: ...


def live_tab(surroundings: Surroundings, panel: LivePanel, steered: Steered) -> Tab:
    """Make the tab.

    Args:
        panel: whose picture is shown.
        steered: what the controls reach: the panel, or a `SessionRunner`.
    """
    routes = stream_routes(panel.feed, panel.gallery, steered, surroundings.sessions.lives)
    add_files(routes, "/live/", KINDS)
    return Tab("Live", partial(build_html, "live"), "/live/", routes, HEAD)


def stream_routes(
    feed: Feed, gallery: Gallery, steered: Steered, lives: Callable[[Session], bool]
) -> APIRouter:
    """`/live/stream`, and `/live/track/NUMBER`, a lesion's picture as JPEG.

    Args:
        lives: whether a session has not ended; asked again while a socket is open.
    """
    routes = APIRouter()

    @routes.websocket("/live/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the page's server has ended meanwhile
                loop.call_soon_threadsafe(news.set)

        try:
            viewer = feed.join(wake)
        except SinkError as error:
            await socket.close(TOO_MANY, str(error))
            return
        try:
            await _serve(socket, viewer, news, steered, lives)
        finally:
            viewer.leave()

    @routes.get("/live/track/{number}")
    async def track(number: int) -> Response:
        jpeg = gallery.picture(number)
        if jpeg is None:
            return Response(status_code=404)
        return Response(jpeg, media_type="image/jpeg")

    return routes


async def _serve(
    socket: WebSocket,
    viewer: Viewer,
    news: asyncio.Event,
    steered: Steered,
    lives: Callable[[Session], bool],
) -> None:
    """Send and listen until one of both ends."""
    session: Session = socket.scope[SESSION_KEY]
    acted = asyncio.Event()
    tasks = [
        asyncio.create_task(_send_frames(socket, viewer, news)),
        asyncio.create_task(_send_states(socket, viewer, steered, acted, partial(lives, session))),
        asyncio.create_task(_listen(socket, viewer, steered, news, acted)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    # Who sends on a socket that is closed already fails in one of several ways, none of them news.
    closed = WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state)
    for end in ends:
        if isinstance(end, Exception) and not closed:
            raise end


async def _send_frames(socket: WebSocket, viewer: Viewer, news: asyncio.Event) -> None:
    while True:
        await news.wait()
        news.clear()
        picture = viewer.take()
        if picture is not None:
            head = PICTURE_HEAD.pack(picture.number, picture.frame)
            await socket.send_bytes(head + picture.jpeg)


async def _send_states(
    socket: WebSocket,
    viewer: Viewer,
    steered: Steered,
    acted: asyncio.Event,
    lives: Callable[[], bool],
) -> None:
    """At every `STATE_SECONDS`, and at once when the viewer has done something."""
    while lives():
        delay_ms = viewer.delay_ms
        shown = None if delay_ms is None else round(delay_ms, 1)
        await socket.send_json(steered.state() | {"delay_ms": shown})
        with suppress(TimeoutError):
            await asyncio.wait_for(acted.wait(), STATE_SECONDS)
        acted.clear()
    await socket.close(LOGGED_OUT, "log in again")


async def _listen(
    socket: WebSocket,
    viewer: Viewer,
    steered: Steered,
    news: asyncio.Event,
    acted: asyncio.Event,
) -> None:
    while True:
        text = await socket.receive_text()
        try:
            request = said.validate_json(text)
        except ValidationError:
            await socket.close(SPOKE_NONSENSE, "not understood")
            return
        if isinstance(request, Drawn):
            viewer.drew(request.number)
            news.set()
        else:
            await run_in_threadpool(steered.do, request)
            acted.set()
