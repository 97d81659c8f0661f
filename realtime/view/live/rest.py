"""Answers programs that read a live session: its state and its lesions, as JSON and as a stream.

    GET /live/api/state         state of the session
    GET /live/api/events        lesions that are new or have ended, as server-sent events
    GET /live/api/openapi.json  description of both (OpenAPI)

The page's gate checks each request before. Nothing can be changed here.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Literal

from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.view.security.middleware import SESSION_KEY
from qlumen.realtime.view.security.sessions import Session

KEPT = 1000
"""Events that a client can catch up with after a break."""
ALIVE_S = 10.0


class SessionState(BaseModel):
    """State of the live session."""

    running: bool
    source: str = Field("", description="where the video comes from, without secrets")
    ai: str = Field("", description="on, late or off")
    condition: str = Field("", description="why frames are not judged; empty if they are")
    signal: bool = Field(False, description="whether the source delivers frames")
    lesions: list[int] = Field([], description="numbers of the lesions in view")
    frames_per_s: float = 0.0
    lost: dict[str, int] = Field({}, description="frames lost or not judged, by cause")


class LesionEvent(BaseModel):
    """Data of a server-sent event."""

    type: Literal["new", "end"]
    lesion: int
    frame: int
    at: str = Field(description="wall clock, ISO 8601, UTC")
    box: tuple[int, int, int, int] = Field(description="x0, y0, x1, y1 in pixels, half open")
    score: float = Field(description="mean probability")
    size: tuple[int, int] = Field(description="width and height of the frame, px")
    label: str = Field("", description="text of an analysis step, if it gave one")


class LesionNews:
    """Collects the events of a session in the sink's thread, and wakes those who wait for them.

    Args:
        clients: largest number of those who wait at a time.
    """

    def __init__(self, *, clients: int) -> None:
        self._limit = clients
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, dict[str, Any]]] = deque(maxlen=KEPT)
        self._waiting: set[Callable[[], None]] = set()
        self._changes = LesionEvents()
        self.newest = 0

    def begin(self) -> None:
        """Begin with no lesion in view, for a new session. Old events stay."""
        self._changes = LesionEvents()

    def __call__(self, result: FrameResult) -> None:
        changes = self._changes.changes(result)
        if not changes:
            return
        with self._lock:
            for change in changes:
                self.newest += 1
                self._kept.append((self.newest, change))
            for wake in self._waiting:
                wake()

    def after(self, number: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the events after the one with this number."""
        with self._lock:
            return [one for one in self._kept if one[0] > number]

    def wait(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` in another thread at each event, until the returned function is called.

        Raises:
            SinkError: too many wait already.
        """
        with self._lock:
            if len(self._waiting) >= self._limit:
                raise SinkError(
                    f"{self._limit} clients follow the lesions already; raise view.viewers"
                )
            self._waiting.add(wake)

        def leave() -> None:
            with self._lock:
                self._waiting.discard(wake)

        return leave


def add_rest(
    routes: APIRouter,
    news: LesionNews,
    state: Callable[[], dict[str, Any]],
    lives: Callable[[Session], bool],
) -> None:
    """Add the routes of this module.

    Args:
        state: getter of the page's state.
        lives: check that a client's session has not ended.
    """
    own = APIRouter(prefix="/live/api")

    @own.get("/state")
    def read_state() -> SessionState:
        """Return the state of the session."""
        return _describe(state())

    @own.get(
        "/events",
        response_class=StreamingResponse,
        responses={
            200: {"model": LesionEvent, "content": {"text/event-stream": {}}},
            503: {"description": "as many clients as `view.viewers` follow already"},
        },
    )
    async def follow(request: Request, last_event_id: int | None = Header(None)) -> Any:
        """Send each lesion that is new or has ended, as server-sent events.

        `Last-Event-ID` asks for the events after it, 1,000 at most.
        """
        # A number above the newest is of a page before this one.
        begin = news.newest if last_event_id is None else last_event_id
        begin = begin if begin <= news.newest else 0
        session = request.scope[SESSION_KEY]
        stream = _stream(news, begin, lambda: lives(session))
        try:
            await anext(stream)
        except SinkError as error:
            raise HTTPException(503, str(error)) from error
        return StreamingResponse(stream, media_type="text/event-stream")

    @own.get("/openapi.json", include_in_schema=False)
    def describe() -> dict[str, Any]:
        return get_openapi(title="qlumen live", version="1", routes=own.routes)

    routes.include_router(own)


async def _stream(news: LesionNews, last: int, lives: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield nothing once when the events are waited for, then the events."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the page's server may have ended
            loop.call_soon_threadsafe(woken.set)

    leave = news.wait(wake)
    try:
        yield ""
        yield ": lesions\n\n"
        while lives():
            woken.clear()
            for number, event in news.after(last):
                last = number
                yield f"id: {number}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
            try:
                await asyncio.wait_for(woken.wait(), ALIVE_S)
            except TimeoutError:
                yield ": alive\n\n"
    finally:
        leave()


def _describe(page: dict[str, Any]) -> SessionState:
    if not page["running"]:
        return SessionState(running=False)
    return SessionState(
        running=True,
        source=page["source"],
        ai=page.get("ai", ""),
        condition=page.get("condition", ""),
        signal=page.get("signal", False),
        lesions=[one["number"] for one in page["tracks"] if one["now"]],
        frames_per_s=page["rate"],
        lost=page["drops"],
    )
