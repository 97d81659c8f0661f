"""Checks several viewers of one page: a slow one slows nobody, and each leaves when it must."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import connect

from qlumen.realtime.view.live.feed import Feed
from qlumen.realtime.view.live.gallery import Gallery
from qlumen.realtime.view.live.messages import Request
from qlumen.realtime.view.live.tab import IMAGE_HEAD, LOGGED_OUT, stream_routes
from qlumen.realtime.view.security.middleware import Gate
from qlumen.realtime.view.security.sessions import Sessions

from support.live_process import wait_until
from support.page import Shown

WATCHED_FRAMES = 40
SMALL_WINDOW_BYTES = 4096
"""Window of a receiver with a slow network; the sender soon has to wait."""
SLOW_BYTES_PER_S = 20_000
UPGRADE = (
    "GET /live/stream HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def measure_share(site: Shown) -> float:
    """Return the share of the source's frames that a viewer without delay gets."""
    frames: list[int] = []
    with connect(f"{site.url.replace('http', 'ws', 1)}/live/stream", compression=None) as fast:
        while len(frames) < WATCHED_FRAMES:
            message = fast.recv(timeout=60)
            if isinstance(message, bytes):
                number, frame = IMAGE_HEAD.unpack_from(message)
                frames.append(frame)
                fast.send(json.dumps({"do": "drawn", "number": number}))
    return len(frames) / (frames[-1] - frames[0] + 1)


class ThrottledViewer:
    """Acts as a viewer behind a slow network: it reads a few bytes at a time, then answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._ending = connection, threading.Event()
        self.taken = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _read(self) -> None:
        buffer = b""
        while not self._ending.wait(SMALL_WINDOW_BYTES / SLOW_BYTES_PER_S):
            buffer += self._connection.recv(SMALL_WINDOW_BYTES)
            end = buffer.find(b"\xff\xd9")
            if end >= 0:
                start = buffer.find(b"\xff\xd8\xff")
                number = struct.unpack("<Q", buffer[start - IMAGE_HEAD.size :][:8])[0]
                self._connection.sendall(mask(json.dumps({"do": "drawn", "number": number})))
                buffer, self.taken = buffer[end + 2 :], self.taken + 1


def mask(text: str) -> bytes:
    """Make a WebSocket text frame as a browser does, with an all-zero mask (RFC 6455, 5.2)."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


@contextmanager
def connect_slowly(site: Shown) -> Iterator[ThrottledViewer]:
    parts = urlsplit(site.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW_BYTES)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(UPGRADE.format(host=parts.netloc).encode())
        viewer = ThrottledViewer(connection)
        try:
            wait_until(lambda: viewer.taken > 0, "the slow viewer got nothing")
            yield viewer
        finally:
            viewer.end()


def test_a_throttled_viewer_does_not_slow_the_other(site: Shown) -> None:
    """A viewer gets about the same share of frames alone and beside one with two images a second.

    If it had to wait for the slow viewer, it would get a tenth.
    """
    alone = measure_share(site)
    with connect_slowly(site) as slow:
        taken, frame = slow.taken, site.panel.state()["frame"]
        beside = measure_share(site)
        slow_share = (slow.taken - taken) / (site.panel.state()["frame"] - frame)
    assert beside > 0.6 * alone
    assert slow_share < 0.4 * beside


class IdleController:
    """Acts as a controller without a session."""

    def do(self, request: Request) -> None:
        raise AssertionError(request)

    def state(self) -> dict[str, bool]:
        return {"running": False}


def listen(opened: WebSocketTestSession) -> None:
    while True:
        opened.receive_json()


def test_an_open_socket_ends_with_its_session() -> None:
    """A viewer that has logged out, or whose hours are over, gets no further image."""
    sessions = Sessions(1.0)
    app = FastAPI()
    app.include_router(
        stream_routes(Feed(viewers=2, in_flight=1), Gallery(), IdleController(), sessions.lives)
    )
    gate = Gate(
        app, prefixes=("/live/",), sessions=sessions, cookie="c", secure=False, password=True,
        upload_bytes=1,
    )  # fmt: skip
    token, session = sessions.begin()
    browser = TestClient(gate, "http://127.0.0.1", cookies={"c": token})
    with browser.websocket_connect("ws://127.0.0.1/live/stream") as opened:
        assert opened.receive_json()["running"] is False
        sessions.end(session)
        with pytest.raises(WebSocketDisconnect) as ended:
            listen(opened)
    assert ended.value.code == LOGGED_OUT
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/live/stream"):
        pass
