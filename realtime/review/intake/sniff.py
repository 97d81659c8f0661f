"""Recognises the kind of a file by its first bytes, whatever its name is.

Only containers and image formats that cannot name other files or addresses are known here.
FFmpeg also reads playlists; with them an upload could fetch any file or address.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import RefusedError

HEAD_BYTES = 4096
TS_PACKET, TS_SYNC = 188, 0x47
TS_TIMESTAMPED_PACKET = 192
TS_PACKETS = 4


@dataclass(frozen=True, slots=True)
class FileKind:
    """Describes a kind of file.

    Attributes:
        name: name to show.
        suffix: file name ending that readers expect.
        image: whether it is a single image and not a video.
        format: FFmpeg's name of the demuxer, or Pillow's name of the image format.
    """

    name: str
    suffix: str
    image: bool
    format: str


def sniff(file: Path) -> FileKind:
    """Recognise the kind of a file; raise RefusedError if it is empty or of an unknown kind."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    if not head:
        raise RefusedError("the file is empty (0 bytes); copy or export it again")
    for matches, kind in _KINDS:
        if matches(head):
            return kind
    known = ", ".join(dict.fromkeys(kind.name for _, kind in _KINDS))
    raise RefusedError(
        f"the file's content is of an unknown kind; use one of: {known}; or convert it: "
        "ffmpeg -i FILE -c copy NEW.mkv"
    )


def _match_start(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _match_riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == form


def _is_mp4(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")


def _is_dv(head: bytes) -> bool:
    """Check for the header block of a DIF sequence, of 525 or 625 lines (IEC 61834)."""
    return head[:3] == b"\x1f\x07\x00" and head[3:4] in (b"\x3f", b"\xbf")


def _first_unit(head: bytes) -> bytes:
    """Return the head of the first NAL unit behind a start code (H.264 and HEVC, annex B)."""
    for code in (b"\0\0\0\x01", b"\0\0\x01"):
        if head.startswith(code):
            return head[len(code) : len(code) + 2]
    return b""


def _is_h264(head: bytes) -> bool:
    """Check for a first unit of supplemental data, parameters or a delimiter."""
    unit = _first_unit(head)
    return bool(unit) and unit[0] < 0x80 and unit[0] & 0x1F in (6, 7, 9)


def _is_hevc(head: bytes) -> bool:
    """Check for a first unit of parameters or a delimiter, in the base layer."""
    unit = _first_unit(head)
    return len(unit) == 2 and unit[0] >> 1 in (32, 33, 35) and unit[0] & 1 == 0 and unit[1] == 1


def _is_transport_stream(head: bytes) -> bool:
    plain = range(0, TS_PACKETS * TS_PACKET, TS_PACKET)
    stamped = range(4, TS_PACKETS * TS_TIMESTAMPED_PACKET, TS_TIMESTAMPED_PACKET)
    whole = len(head) > stamped[-1]
    return whole and any(all(head[at] == TS_SYNC for at in each) for each in (plain, stamped))


_KINDS: tuple[tuple[Callable[[bytes], bool], FileKind], ...] = (
    (_match_start(b"\x89PNG\r\n\x1a\n"), FileKind("PNG", ".png", True, "PNG")),
    (_match_start(b"\xff\xd8\xff"), FileKind("JPEG", ".jpg", True, "JPEG")),
    (_match_start(b"BM"), FileKind("BMP", ".bmp", True, "BMP")),
    (_match_start(b"II*\0", b"MM\0*"), FileKind("TIFF", ".tif", True, "TIFF")),
    (_match_riff(b"WEBP"), FileKind("WebP", ".webp", True, "WEBP")),
    (_match_riff(b"AVI "), FileKind("AVI", ".avi", False, "avi")),
    (_is_mp4, FileKind("MP4 or QuickTime", ".mp4", False, "mov,mp4,m4a,3gp,3g2,mj2")),
    (_match_start(b"\x1aE\xdf\xa3"), FileKind("Matroska or WebM", ".mkv", False, "matroska,webm")),
    (_match_start(b"\0\0\x01\xba"), FileKind("MPEG program stream", ".mpg", False, "mpeg")),
    (_match_start(b"\0\0\x01\xb3"), FileKind("MPEG video", ".m2v", False, "mpegvideo")),
    (_match_start(b"0&\xb2u\x8ef\xcf\x11"), FileKind("Windows Media", ".wmv", False, "asf")),
    (_match_start(b"\0\0\x01\xb0"), FileKind("MPEG-4 video", ".m4v", False, "m4v")),
    (_is_hevc, FileKind("HEVC video", ".hevc", False, "hevc")),
    (_is_h264, FileKind("H.264 video", ".h264", False, "h264")),
    (_is_dv, FileKind("DV", ".dv", False, "dv")),
    (_match_start(b"\x06\x0e\x2b\x34\x02\x05\x01\x01"), FileKind("MXF", ".mxf", False, "mxf")),
    (_match_start(b"OggS"), FileKind("Ogg", ".ogv", False, "ogg")),
    (_match_start(b"FLV\x01"), FileKind("Flash video", ".flv", False, "flv")),
    (_match_start(b"DKIF"), FileKind("IVF", ".ivf", False, "ivf")),
    (_match_start(b"GIF87a", b"GIF89a"), FileKind("GIF", ".gif", False, "gif")),
    (_match_start(b"YUV4MPEG2"), FileKind("YUV4MPEG", ".y4m", False, "yuv4mpegpipe")),
    (_is_transport_stream, FileKind("MPEG transport stream", ".ts", False, "mpegts")),
)  # fmt: skip
