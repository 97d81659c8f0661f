"""Serves the tab with the live video, its controls and figures, and the socket for them.

A binary message is an image: its number, then the frame's index (8 bytes each, little endian),
then the JPEG. A text message is the state as JSON. `messages` defines what the browser sends.
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
from qlumen.realtime.view.live.messages import Drawn, Request, message
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.rest import add_rest
from qlumen.realtime.view.security.middleware import SESSION_KEY
from qlumen.realtime.view.security.sessions import Session
from qlumen.realtime.view.tabs import PageContext, Tab, add_files, build_html

HEAD = (
    '<link rel="stylesheet" href="live/live.css"><script type="module" src="live/live.js"></script>'
)
KINDS = {"live.js": "text/javascript", "plot.js": "text/javascript", "live.css": "text/css"}
IMAGE_HEAD = struct.Struct("<QQ")
STATE_SECONDS = 0.25
INVALID_MESSAGE, TOO_MANY, LOGGED_OUT = 1008, 1013, 4401


class Controller(Protocol):
    """Receives what the controls ask, as the panel or a `SessionRunner`."""

    def do(self, request: Request) -> None: ...

    def state(self) -> dict[str, Any]: ...


def live_tab(context: PageContext, panel: LivePanel, controller: Controller) -> Tab:
    routes = stream_routes(panel.feed, panel.gallery, controller, context.sessions.lives)
    add_rest(routes, panel.news, controller.state, context.sessions.lives)
    add_files(routes, "/live/", KINDS)
    return Tab("Live", partial(build_html, "live"), "/live/", routes, HEAD)


def stream_routes(
    feed: Feed, gallery: Gallery, controller: Controller, lives: Callable[[Session], bool]
) -> APIRouter:
    """Make the routes `/live/stream` and `/live/track/NUMBER`, a lesion's image as JPEG.

    Args:
        lives: check that a session has not ended; it is repeated while a socket is open.
    """
    routes = APIRouter()

    @routes.websocket("/live/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the page's server may have ended
                loop.call_soon_threadsafe(news.set)

        try:
            viewer = feed.join(wake)
        except SinkError as error:
            await socket.close(TOO_MANY, str(error))
            return
        try:
            await _serve(socket, viewer, news, controller, lives)
        finally:
            viewer.leave()

    @routes.get("/live/track/{number}")
    async def track(number: int) -> Response:
        jpeg = gallery.jpeg(number)
        if jpeg is None:
            return Response(status_code=404)
        return Response(jpeg, media_type="image/jpeg")

    return routes


async def _serve(
    socket: WebSocket,
    viewer: Viewer,
    news: asyncio.Event,
    controller: Controller,
    lives: Callable[[Session], bool],
) -> None:
    """Send and listen until one of them ends."""
    alive = partial(lives, socket.scope[SESSION_KEY])
    acted = asyncio.Event()
    tasks = [
        asyncio.create_task(_send_frames(socket, viewer, news)),
        asyncio.create_task(_send_states(socket, viewer, controller, acted, alive)),
        asyncio.create_task(_listen(socket, viewer, controller, news, acted)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    # Sending on a closed socket fails in several ways that need no report.
    closed = WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state)
    for end in ends:
        if isinstance(end, Exception) and not closed:
            raise end


async def _send_frames(socket: WebSocket, viewer: Viewer, news: asyncio.Event) -> None:
    while True:
        await news.wait()
        news.clear()
        image = viewer.take()
        if image is not None:
            head = IMAGE_HEAD.pack(image.number, image.frame)
            await socket.send_bytes(head + image.jpeg)


async def _send_states(
    socket: WebSocket,
    viewer: Viewer,
    controller: Controller,
    acted: asyncio.Event,
    alive: Callable[[], bool],
) -> None:
    """Send the state every `STATE_SECONDS`, and immediately after the viewer has acted."""
    while alive():
        delay_ms = viewer.delay_ms
        shown = None if delay_ms is None else round(delay_ms, 1)
        await socket.send_json(controller.state() | {"delay_ms": shown})
        with suppress(TimeoutError):
            await asyncio.wait_for(acted.wait(), STATE_SECONDS)
        acted.clear()
    await socket.close(LOGGED_OUT, "log in again")


async def _listen(
    socket: WebSocket,
    viewer: Viewer,
    controller: Controller,
    news: asyncio.Event,
    acted: asyncio.Event,
) -> None:
    while True:
        text = await socket.receive_text()
        try:
            request = message.validate_json(text)
        except ValidationError:
            await socket.close(INVALID_MESSAGE, "the message is not valid")
            return
        if isinstance(request, Drawn):
            viewer.drew(request.number)
            news.set()
        else:
            await run_in_threadpool(controller.do, request)
            acted.set()
