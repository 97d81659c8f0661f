"""A viewer of the live picture behind a slow network, for `bench/view.py`."""

import socket
import statistics
import struct
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from qlumen.realtime.sources.pattern import read_number

SLOW_BYTES_PER_S = 125_000
CHUNK_BYTES = 8192


def slowly(
    url: str, path: str, name: str, wall_ms: Mapping[int, float], seconds: float
) -> dict[str, Any]:
    """How old the pictures are that a viewer gets who reads at `SLOW_BYTES_PER_S`."""
    ages: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    with _asked(url, path, sockets=name == "socket") as connection:
        buffer = b""
        while time.monotonic() < end:
            time.sleep(CHUNK_BYTES / SLOW_BYTES_PER_S)
            buffer += connection.recv(CHUNK_BYTES)
            buffer, pictures, number = _pictures(buffer, name == "socket")
            for picture in pictures:
                shown = read_number(cv2.imdecode(np.frombuffer(picture, np.uint8), 1))
                if shown in wall_ms:
                    ages.append((time.monotonic(), time.time() * 1e3 - wall_ms[shown]))
            if number is not None:
                connection.sendall(_text(f'{{"do":"drawn","number":{number}}}'))
    third = [age for at, age in ages if at > end - seconds / 3]
    return {
        "name": f"slow viewer, {name}",
        "frames_per_s": len(ages) / seconds,
        "delay_ms_p50_last_third": statistics.median(third) if third else float("nan"),
        "delay_ms_max": max((age for _, age in ages), default=float("nan")),
    }


@contextmanager
def _asked(url: str, path: str, *, sockets: bool) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}"]
        if sockets:
            key = b64encode(b"a benchmark's key").decode()[:22] + "=="
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                      f"Sec-WebSocket-Key: {key}"]  # fmt: skip
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def _text(text: str) -> bytes:
    """A WebSocket text frame as a browser sends it, with an all-zero mask (RFC 6455, 5.2)."""
    body = text.encode()
    return bytes([0x81, 0x80 | len(body), 0, 0, 0, 0]) + body


def _pictures(buffer: bytes, sockets: bool) -> tuple[bytes, list[bytes], int | None]:
    """Take whole JPEGs out of a stream; the rest, the pictures, the newest's number."""
    pictures, number = [], None
    while True:
        start = buffer.find(b"\xff\xd8\xff")
        end = buffer.find(b"\xff\xd9", start)
        if start < 0 or end < 0:
            return buffer, pictures, number
        if sockets and start >= 16:
            number = struct.unpack("<Q", buffer[start - 16 : start - 8])[0]
        pictures.append(buffer[start : end + 2])
        buffer = buffer[end + 2 :]
