"""Frames, findings and status over OpenIGTLink, read byte by byte as the protocol says.

Header (58 bytes, big endian): version, type, device name, time, length and CRC of the body. The
CRC is ECMA-182 without reflection (http://openigtlink.org/protocols/v2_header.html).
"""

import json
import socket
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from pyigtl.messages import ImageMessage

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.sinks.openigtlink import CRC_BYTES, OpenIgtLinkServer, pack
from qlumen.realtime.sources.base import SourceInfo

from support.live_frames import Notes, frame, free_port
from support.live_process import wait_until

INFO = SourceInfo("made", None, None, Fraction(25), None)
POLYNOMIAL = 0x42F0E1EBA9EA3693


class Message(NamedTuple):
    version: int
    kind: str
    device: str
    body: bytes


def crc64(data: bytes) -> int:
    """Divide bit by bit, as the standard ECMA-182 defines it."""
    value = 0
    for byte in data:
        value ^= byte << 56
        for _ in range(8):
            value = (value << 1) ^ (POLYNOMIAL if value >> 63 else 0)
            value &= (1 << 64) - 1
    return value


def read(connection: socket.socket) -> Message:
    header = take(connection, 58)
    version, kind, device, _, _, length, crc = struct.unpack(">H12s20sIIQQ", header)
    body = take(connection, length)
    assert crc64(body) == crc
    return Message(version, kind.rstrip(b"\0").decode(), device.rstrip(b"\0").decode(), body)


def take(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "the server has ended the connection"
        data += part
    return data


def read_image(body: bytes) -> np.ndarray[Any, Any]:
    head = struct.unpack(">HBBBB3H12f6H", body[:72])
    components, kind, size = head[1], head[2], head[5:8]
    assert kind == 3, "uint8"
    assert head[20:] == (0, 0, 0, *size)
    assert head[8:17] == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    return np.frombuffer(body[72:], np.uint8).reshape(size[1], size[0], components)


@pytest.fixture
def server() -> Iterator[OpenIgtLinkServer]:
    opened = OpenIgtLinkServer(f"igtl://127.0.0.1:{free_port()}", INFO, Notes())
    yield opened
    opened.close()


def connect(server: OpenIgtLinkServer) -> socket.socket:
    before = len(server._clients)
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    wait_until(lambda: len(server._clients) > before, "the client is not known")
    return connection


@pytest.mark.parametrize("width", [1, CRC_BYTES - 73, CRC_BYTES - 72, 2 * CRC_BYTES + 5])
def test_messages_are_those_of_the_library(width: int) -> None:
    """Byte for byte, whatever the number of pieces of the check."""
    image = np.random.default_rng(width).integers(0, 256, (1, 1, width)).astype(np.uint8)
    message = ImageMessage(image, timestamp=1_800_000_000.25, device_name="qlumen")
    assert b"".join(pack(message)) == message.pack()


def test_a_client_gets_frame_mask_status_and_events(server: OpenIgtLinkServer) -> None:
    """All four messages of a frame have right headers, checks and contents."""
    shown = frame(3, {7})
    shown.segmentation.mask[2:5, 1:4] = 1
    with connect(server) as connection:
        server.write(shown)
        image, mask, status, event = [read(connection) for _ in range(4)]
    assert [(one.version, one.kind, one.device) for one in (image, mask, status, event)] == [
        (1, "IMAGE", "qlumen"),
        (1, "IMAGE", "qlumen_mask"),
        (1, "STATUS", "qlumen"),
        (1, "STRING", "qlumen_events"),
    ]
    assert np.array_equal(read_image(image.body), shown.frame.image[..., ::-1])
    assert np.array_equal(read_image(mask.body)[..., 0], shown.segmentation.mask)
    code, subcode, name = struct.unpack(">Hq20s", status.body[:30])
    assert (code, subcode, name.rstrip(b"\0")) == (1, 0, b"on")
    assert status.body[30:] == b"AI on, clear\0"
    encoding, length = struct.unpack(">HH", event.body[:4])
    assert (encoding, length) == (3, len(event.body) - 4)
    assert json.loads(event.body[4:])["lesion"] == 7


def test_a_client_that_left_disturbs_no_other(server: OpenIgtLinkServer) -> None:
    """Of two clients one leaves; the other gets all events in order."""
    with connect(server) as stays:
        connect(server).close()
        told = []
        for index in range(4):
            server.write(frame(index, {index}))
            kinds = []
            while "STRING" not in kinds:
                message = read(stays)
                kinds.append(message.kind)
                if message.kind == "STRING":
                    told.append(json.loads(message.body[4:]))
        wait_until(lambda: len(server._clients) == 1, "the client that left is still known")
    assert told[0]["lesion"] == 0


def test_a_slow_client_delays_nothing(server: OpenIgtLinkServer) -> None:
    """A client that reads nothing holds one frame, however many are written."""
    with connect(server):
        for index in range(500):
            server.write(frame(index, set()))
        (client,) = server._clients
        assert len(client.frames._items) <= 1


def test_an_address_in_use_is_refused(server: OpenIgtLinkServer) -> None:
    """The message names the address; so does that of a wrong port."""
    with pytest.raises(SinkError, match=f"127.0.0.1:{server.port} cannot be listened on"):
        OpenIgtLinkServer(f"igtl://127.0.0.1:{server.port}", INFO, Notes())
    with pytest.raises(UsageError, match="port from 1 to 65535"):
        OpenIgtLinkServer("igtl://127.0.0.1:99999", INFO, Notes())
