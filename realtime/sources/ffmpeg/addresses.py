"""What names a camera or a stream, and how FFmpeg is asked for it with the least delay."""

import re
from dataclasses import dataclass
from pathlib import Path

import av

from qlumen.errors import ConfigError, SourceNotFoundError, UsageError
from qlumen.realtime.config.source import SourceSettings

CAMERA_SETTINGS = ("camera_size", "camera_fps", "camera_format")
CAMERA_OPTIONS = {
    "v4l2": ("video_size", "framerate", "input_format"),
    "dshow": ("video_size", "framerate", "pixel_format"),
    "avfoundation": ("video_size", "framerate", "pixel_format"),
    "decklink": (None, None, "raw_format"),
    "lavfi": (None, None, None),
}
"""FFmpeg's input devices, and how each calls `CAMERA_SETTINGS`. `lavfi` makes pictures from a
description: `lavfi:testsrc2=size=640x480:rate=25,realtime`. Not `x11grab`: it crashes the
process when OpenCV was imported before PyAV, as their wheels bring different X libraries."""
SCHEMES = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
"""Of URLs that are received as they come; others are files to FFmpeg."""
PROBE = {"probesize": "500000", "analyzeduration": "500000"}
"""Bytes and microseconds; FFmpeg's own 5 MB and 5 s would hold the first picture back."""
SCHEME_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000", "buffer_size": "4194304"},
}
"""`fifo_size` in packets of 188 bytes, `buffer_size` (the socket's) in bytes."""

URL = re.compile(
    r"(?P<scheme>\b(?!file:)[a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?(?P<host>[^\s/?#@]*?)"
    r"(?:(?P<mark>[/?#])\S*?)?(?=[:;,.)'\"]*(?:\s|$))",
    re.IGNORECASE,
)
"""A URL in a text, without the punctuation behind it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where FFmpeg finds a live source.

    Attributes:
        location: as the user named it: `/dev/video0`, `FORMAT:NAME` with a key of
            `CAMERA_OPTIONS`, or a URL of `SCHEMES`.
        name: of the device or the URL, for FFmpeg.
        format: FFmpeg's input format; None to find it.
        options: for FFmpeg.
    """

    location: str
    name: str
    format: str | None
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """The location without a password, for messages and files."""
        return without_secrets(self.location)


def is_live(location: str) -> bool:
    """Whether the location is a camera or a stream, rather than a file."""
    return camera_format(location) is not None or scheme(location) in SCHEMES


def address(location: str, settings: SourceSettings) -> Address:
    """How to open what `is_live` says is a camera or a stream.

    Raises:
        UsageError: this FFmpeg has no such kind of camera; a name is missing.
        ConfigError: a setting that this kind of source does not have.
        SourceNotFoundError: no such device node.
    """
    camera = camera_format(location)
    if camera is not None:
        return _camera(camera, location, settings)
    for key in CAMERA_SETTINGS:
        if getattr(settings, key) is not None:
            raise ConfigError(f"{location} is a stream; source.{key} is for cameras: leave it out")
    own = {**PROBE, **SCHEME_OPTIONS.get(scheme(location), {})}
    return Address(location, location, None, own | _further(settings))


def without_secrets(text: str) -> str:
    """The text with no more of each URL in it than scheme and host.

    Users, paths and queries often hold a password or a stream's key; a path or a query becomes
    `***`. File URLs stay as they are.
    """
    return URL.sub(_show, text)


def _show(url: re.Match[str]) -> str:
    hidden = f"{url['mark']}***" if url["mark"] else ""
    return url["scheme"] + url["host"] + hidden


def scheme(location: str) -> str:
    """`rtsp` of `rtsp://...`; empty for what is no URL."""
    return location.partition("://")[0].lower() if "://" in location else ""


def camera_format(location: str) -> str | None:
    """`dshow` of `dshow:video=NAME`, `v4l2` of a device node; None for what is no camera."""
    if Path(location).is_char_device():
        return "v4l2"
    prefix = location.partition(":")[0]
    return prefix if prefix in CAMERA_OPTIONS and ":" in location else None


def _camera(format_: str, location: str, settings: SourceSettings) -> Address:
    known = {name for names in av.formats_available for name in names.split(",")}
    if format_ not in known:
        here = ", ".join(sorted(CAMERA_OPTIONS.keys() & known)) or "none"
        raise UsageError(f"{location}: this FFmpeg cannot read {format_} devices; it knows {here}")
    name = location.removeprefix(f"{format_}:")
    if not name:
        raise UsageError(f"{location} names no device; write {format_}:NAME")
    if format_ == "v4l2" and not Path(name).exists():
        raise SourceNotFoundError(f"no such device: {name}; is the camera plugged in?")
    return Address(location, name, format_, _camera_options(format_, settings) | _further(settings))


def _camera_options(format_: str, settings: SourceSettings) -> dict[str, str]:
    options = {}
    for key, option in zip(CAMERA_SETTINGS, CAMERA_OPTIONS[format_], strict=True):
        value = getattr(settings, key)
        if value is None:
            continue
        if option is None:
            raise ConfigError(
                f"{format_} devices have no source.{key}; see FFmpeg's documentation of "
                f"{format_}, and give its options with source.options"
            )
        options[option] = str(value)
    return options


def _further(settings: SourceSettings) -> dict[str, str]:
    return {key: str(value) for key, value in settings.options.items()}
