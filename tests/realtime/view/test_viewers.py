"""Several viewers at one page: a slow one slows nobody, and each leaves when it must."""

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
from qlumen.realtime.view.live.tab import LOGGED_OUT, PICTURE_HEAD, stream_routes
from qlumen.realtime.view.security.middleware import Gate
from qlumen.realtime.view.security.sessions import Sessions

from support.live_process import wait_until
from support.page import Shown

WATCHED_PICTURES = 40
SMALL_WINDOW_BYTES = 4096
"""Of a receiver whose network is slow: the sender soon has to wait."""
SLOW_BYTES_PER_S = 20_000
UPGRADE = (
    "GET /live/stream HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def share_of_all(shown: Shown) -> float:
    """Of the source's frames while a viewer watched who draws each at once, those it got."""
    frames: list[int] = []
    with connect(f"{shown.url.replace('http', 'ws', 1)}/live/stream", compression=None) as fast:
        while len(frames) < WATCHED_PICTURES:
            message = fast.recv(timeout=60)
            if isinstance(message, bytes):
                number, frame = PICTURE_HEAD.unpack_from(message)
                frames.append(frame)
                fast.send(json.dumps({"do": "drawn", "number": number}))
    return len(frames) / (frames[-1] - frames[0] + 1)


class Throttled:
    """A viewer behind a slow network: it reads a few bytes at a time and answers what came."""

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
                number = struct.unpack("<Q", buffer[start - PICTURE_HEAD.size :][:8])[0]
                self._connection.sendall(masked(json.dumps({"do": "drawn", "number": number})))
                buffer, self.taken = buffer[end + 2 :], self.taken + 1


def masked(text: str) -> bytes:
    """A WebSocket text frame as a browser sends it, with an all-zero mask (RFC 6455, 5.2)."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


@contextmanager
def throttled(shown: Shown) -> Iterator[Throttled]:
    parts = urlsplit(shown.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW_BYTES)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(UPGRADE.format(host=parts.netloc).encode())
        viewer = Throttled(connection)
        try:
            wait_until(lambda: viewer.taken > 0, "the slow viewer got nothing")
            yield viewer
        finally:
            viewer.end()


def test_a_throttled_viewer_does_not_slow_the_other(shown: Shown) -> None:
    """Beside one whose network takes two pictures a second, the other gets about the share of all
    frames that it got alone; if it had to wait for the first one, it would get a tenth."""
    alone = share_of_all(shown)
    with throttled(shown) as slow:
        taken, frame = slow.taken, shown.panel.state()["frame"]
        beside = share_of_all(shown)
        slow_share = (slow.taken - taken) / (shown.panel.state()["frame"] - frame)
    assert beside > 0.6 * alone
    assert slow_share < 0.4 * beside


class Nothing:
    """Controls without a session behind them."""

    def do(self, request: Request) -> None:
        raise AssertionError(request)

    def state(self) -> dict[str, bool]:
        return {"running": False}


def listen(opened: WebSocketTestSession) -> None:
    while True:
        opened.receive_json()


def test_an_open_socket_ends_with_its_session() -> None:
    """Who has logged out, or whose hours are over, sees no further picture."""
    sessions = Sessions(1.0)
    app = FastAPI()
    app.include_router(
        stream_routes(Feed(viewers=2, in_flight=1), Gallery(), Nothing(), sessions.lives)
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
