"""Watches live video through a slow network, for `bench/view.py`."""

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


def watch_slowly(
    url: str, path: str, name: str, wall_ms: Mapping[int, float], seconds: float
) -> dict[str, Any]:
    """Read at `SLOW_BYTES_PER_S`, and measure how old the frames are."""
    ages: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    with _connect(url, path, sockets=name == "socket") as connection:
        buffer = b""
        while time.monotonic() < end:
            time.sleep(CHUNK_BYTES / SLOW_BYTES_PER_S)
            buffer += connection.recv(CHUNK_BYTES)
            buffer, images, number = _take_images(buffer, name == "socket")
            for image in images:
                shown = read_number(cv2.imdecode(np.frombuffer(image, np.uint8), 1))
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
def _connect(url: str, path: str, *, sockets: bool) -> Iterator[socket.socket]:
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
    """Make a WebSocket text frame as a browser does, with an all-zero mask (RFC 6455, 5.2)."""
    body = text.encode()
    return bytes([0x81, 0x80 | len(body), 0, 0, 0, 0]) + body


def _take_images(buffer: bytes, sockets: bool) -> tuple[bytes, list[bytes], int | None]:
    """Take whole JPEGs out of a stream; return the rest, the JPEGs, the newest number."""
    images, number = [], None
    while True:
        start = buffer.find(b"\xff\xd8\xff")
        end = buffer.find(b"\xff\xd9", start)
        if start < 0 or end < 0:
            return buffer, images, number
        if sockets and start >= 16:
            number = struct.unpack("<Q", buffer[start - 16 : start - 8])[0]
        images.append(buffer[start : end + 2])
        buffer = buffer[end + 2 :]
