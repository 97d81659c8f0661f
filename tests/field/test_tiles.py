"""Images in tiles, as telephones store them, are not shown by one of their tiles."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from qlumen.errors import NotAVideoError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.sources.choose import open_live_source, open_source

from support.media import write_video

TILE_PX = 64
GRID = 3
"""Number of the item that is the whole image; 1 and 2 are its tiles."""


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *parts)


def item(number: int, kind: bytes) -> bytes:
    return full_box(b"infe", struct.pack(">HH4sx", number, 0, kind), version=2)


def size_box(width: int, height: int) -> bytes:
    return full_box(b"ispe", struct.pack(">II", width, height))


def write_tiled_image(path: Path) -> Path:
    """Write a HEIC image of two tiles beside each other (ISO/IEC 23008-12)."""
    images = [np.full((TILE_PX, TILE_PX, 3), (40, 50, level), np.uint8) for level in (90, 200)]
    video = write_video(path.with_suffix(".mp4"), images, codec="libx265", options={"g": "1"})
    stored = video.read_bytes()
    at = stored.index(b"hvcC") - 4
    decoder = stored[at : at + struct.unpack_from(">I", stored, at)[0]]
    with av.open(str(video)) as container:
        tiles = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 2 * TILE_PX, TILE_PX)
    contents = [*tiles, grid]

    def make(start: int) -> bytes:
        places, offset = b"", start
        for number, content in enumerate(contents, 1):
            places += struct.pack(">HHHII", number, 0, 1, offset, len(content))
            offset += len(content)
        properties = [decoder, size_box(TILE_PX, TILE_PX), size_box(2 * TILE_PX, TILE_PX)]
        uses = [(1, (0x81, 2)), (2, (0x81, 2)), (GRID, (3,))]
        used = b"".join(struct.pack(">HB", n, len(p)) + bytes(p) for n, p in uses)
        meta = full_box(
            b"meta",
            full_box(b"hdlr", struct.pack(">I4s12xx", 0, b"pict")),
            full_box(b"pitm", struct.pack(">H", GRID)),
            full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(contents)), places),
            full_box(b"iinf", struct.pack(">H", GRID), item(1, b"hvc1"), item(2, b"hvc1"),
                     item(GRID, b"grid")),
            full_box(b"iref", box(b"dimg", struct.pack(">HHHH", GRID, 2, 1, 2))),
            box(b"iprp", box(b"ipco", *properties),
                full_box(b"ipma", struct.pack(">I", len(uses)), used)),
        )  # fmt: skip
        kind = box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
        return kind + meta + box(b"mdat", *contents)

    start = len(make(0)) - sum(map(len, contents))
    path.write_bytes(make(start))
    return path


def test_an_image_in_tiles_is_refused(tmp_path: Path) -> None:
    """A photograph of a telephone is not shown as one of its tiles (mpv-player/mpv #17738); the
    message says what to do, and a tile can still be asked for.
    """
    path = write_tiled_image(tmp_path / "a.heic")
    for open_ in (open_source, open_live_source):
        with pytest.raises(NotAVideoError, match=r"a\.heic is an image in tiles .* JPEG or PNG"):
            open_(str(path), load_settings())
    with open_source(str(path), load_settings(None, ["source.stream=1"])) as source:
        (frame,) = source.frames()
    assert frame.size == (TILE_PX, TILE_PX)
    assert frame.image[..., 2].mean() == pytest.approx(200, abs=4)
