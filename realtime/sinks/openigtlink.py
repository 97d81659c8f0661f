"""Serves frames and findings over OpenIGTLink, for 3D Slicer and PLUS.

Each client gets, of the newest frame that it has time for:

    IMAGE    qlumen        the frame, RGB, one slice
    IMAGE    qlumen_mask   1 on the findings, of the same size
    STATUS   qlumen        OK while the AI judges; else what is wrong
    STRING   qlumen_events JSON of each lesion that is new or has ended

Messages have header version 1 (Tokuda et al. 2009, and the protocol's pages). One pixel is one
millimetre.
"""

import json
import socketserver
import struct
import threading
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from pyigtl.messages import CRC64, ImageMessage, MessageBase, StringMessage

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.frames import AiState, FrameResult
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.locations import show_location
from qlumen.system.threads import start

NAME = "qlumen"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 18944
WAITING_EVENTS = 1000
WAIT_S = 0.2
SEND_TIMEOUT_S = 10.0
HEADER = struct.Struct(">H12s20sQQQ")
"""Version, type, device, seconds since 1970 in 1/2**32, length and CRC of the body."""
CRC_BYTES = 1 << 14
"""The library computes a CRC without letting other threads run: 20 ms for a frame of 1080p."""
STATUS_OK, STATUS_NOT_READY = 1, 13
"""Codes of the protocol's STATUS message."""


class StatusMessage(MessageBase):
    """Packs the STATUS message, which the library does not have: code, subcode, name, text."""

    def __init__(self, code: int, name: str, text: str, **header: Any) -> None:
        super().__init__(**header)
        self._message_type = "STATUS"
        self._content = struct.pack(">Hq20s", code, 0, name.encode()) + text.encode() + b"\0"
        self._valid_message = True

    def _pack_content(self) -> bytes:
        return self._content


class OpenIgtLinkServer(Sink):
    """Listens for clients. A slow client misses frames, and no client delays another.

    Args:
        url: `igtl://[host][:port]`, by default `igtl://127.0.0.1:18944`. There is no password:
            name another host only in a network that you trust.
        note: writer of an event when a client comes and goes.

    Raises:
        UsageError: the port is wrong.
        SinkError: the address is in use, or is not one of this computer.
    """

    notes: list[str]

    def __init__(self, url: str, info: SourceInfo, note: Note) -> None:
        self.notes = []
        parts = urlsplit(url)
        try:
            address = parts.hostname or DEFAULT_HOST, parts.port or DEFAULT_PORT
        except ValueError:
            raise UsageError(f"{show_location(url)}: use a port from 1 to 65535") from None
        self._events = LesionEvents()
        self._clients: set[_Client] = set()
        self._changing = threading.Lock()
        self._note = note
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                sink._serve(self.request)

        try:
            self._server = _Server(address, Handler)
        except OSError as error:
            raise SinkError(
                f"{show_location(url)} cannot be listened on: {error.strerror}; choose another port"
            ) from error
        self.port: int = self._server.server_address[1]
        start("igtl", lambda: self._server.serve_forever(WAIT_S))

    def write(self, result: FrameResult) -> None:
        changes = self._events.changes(result)
        with self._changing:
            for client in self._clients:
                client.events.extend(changes)
                client.frames.put(result)

    def close(self) -> None:
        """End all connections."""
        with self._changing:
            for client in self._clients:
                client.frames.close()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, connection: Any) -> None:
        """Send to one client until it leaves."""
        client = _Client()
        connection.settimeout(SEND_TIMEOUT_S)
        with self._changing:
            self._clients.add(client)
        self._note("igtl_client_came")
        try:
            while not client.frames.ended:
                result = client.frames.get(WAIT_S)
                if result is not None:
                    for message in _messages(result, client):
                        for part in pack(message):
                            connection.sendall(part)
        except OSError:
            pass  # the client has left; others go on
        finally:
            with self._changing:
                self._clients.discard(client)
            self._note("igtl_client_left")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Client:
    """Holds what waits for one client: the newest frame, and all events."""

    def __init__(self) -> None:
        self.frames: DroppingQueue[FrameResult] = DroppingQueue()
        self.events: deque[dict[str, Any]] = deque(maxlen=WAITING_EVENTS)


def pack(message: MessageBase) -> tuple[bytes, bytes]:
    """Return header and body of a message, as its own `pack` does in one step."""
    body, crc = message._pack_content(), 0
    for begin in range(0, len(body), CRC_BYTES):
        crc = CRC64(body[begin : begin + CRC_BYTES], crc)
    kind, device = message._message_type.encode(), message.device_name.encode()
    return HEADER.pack(1, kind, device, int(message.timestamp * 2**32), len(body), crc), body


def _messages(result: FrameResult, client: _Client) -> list[MessageBase]:
    now = time.time()
    rgb = np.ascontiguousarray(result.frame.image[None, :, :, ::-1])
    mask = np.ascontiguousarray(result.segmentation.mask[None])
    found = [
        ImageMessage(rgb, timestamp=now, device_name=NAME),
        ImageMessage(mask, timestamp=now, device_name=f"{NAME}_mask"),
    ]
    if live := result.live:
        judges = live.ai is AiState.ON and live.signal
        code = STATUS_OK if judges else STATUS_NOT_READY
        text = f"AI {live.ai.value}, " + (live.condition.label if live.signal else "no signal")
        found.append(StatusMessage(code, live.ai.value, text, timestamp=now, device_name=NAME))
    while client.events:
        text = json.dumps(client.events.popleft())
        found.append(StringMessage(text, timestamp=now, device_name=f"{NAME}_events"))
    return found
