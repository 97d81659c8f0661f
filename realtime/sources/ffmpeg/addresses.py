"""Names cameras and streams, and sets FFmpeg's options for the least delay."""

from dataclasses import dataclass
from pathlib import Path

import av

from qlumen.errors import ConfigError, SourceNotFoundError, UsageError
from qlumen.realtime.config.source import SourceSettings
from qlumen.system.locations import show_location

CAMERA_SETTINGS = ("camera_size", "camera_fps", "camera_format")
CAMERA_OPTIONS = {
    "v4l2": ("video_size", "framerate", "input_format"),
    "dshow": ("video_size", "framerate", "pixel_format"),
    "avfoundation": ("video_size", "framerate", "pixel_format"),
    "decklink": (None, None, "raw_format"),
    "lavfi": (None, None, None),
}
"""FFmpeg's input devices, and the name of each of `CAMERA_SETTINGS` there. `lavfi` makes frames
from a description: `lavfi:testsrc2=size=640x480:rate=25,realtime`. `x11grab` is missing: it crashes
the process if OpenCV was imported before PyAV, because their wheels bring different X libraries."""
SCHEMES = frozenset(
    {
        "mmsh", "mmst", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts", "rtp", "rtsp",
        "rtsps", "srt", "tcp", "tls", "udp", "udplite",
    }
)  # fmt: skip
"""Schemes of URLs that are received live; other URLs are files to FFmpeg."""
WEB_SCHEMES = frozenset({"http", "https"})
"""Schemes of URLs of both files and cameras; see `opening.is_endless`."""
PROBE = {"probesize": "500000", "analyzeduration": "500000"}
"""Limits in bytes and microseconds; FFmpeg's own 5 MB and 5 s would delay the first frame."""
SCHEME_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000", "buffer_size": "4194304"},
}
"""`fifo_size` is in packets of 188 bytes, `buffer_size` (of the socket) in bytes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Describes where FFmpeg finds a live source.

    Attributes:
        location: name from the user: `/dev/video0`, `FORMAT:NAME` with a key of
            `CAMERA_OPTIONS`, or a URL of `SCHEMES`.
        name: name of the device or the URL, for FFmpeg.
        format: FFmpeg's input format; None to find it.
        options: options for FFmpeg.
    """

    location: str
    name: str
    format: str | None
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """Return the location without a password, for messages and files."""
        return show_location(self.location)


def is_live(location: str) -> bool:
    """Check whether the location is a camera or a stream, and not a file."""
    return camera_format(location) is not None or scheme(location) in SCHEMES


def address(location: str, settings: SourceSettings) -> Address:
    """Return how to open a camera or a stream, as `is_live` finds it, or any other URL.

    Raises:
        UsageError: this FFmpeg has no such kind of camera, or a name is missing.
        ConfigError: this kind of source does not have the setting.
        SourceNotFoundError: there is no such device node.
    """
    camera = camera_format(location)
    if camera is not None:
        return _camera(camera, location, settings)
    for key in CAMERA_SETTINGS:
        if getattr(settings, key) is not None:
            raise ConfigError(
                f"{show_location(location)} is a stream; source.{key} is for cameras: remove it"
            )
    own = {**PROBE, **SCHEME_OPTIONS.get(scheme(location), {})}
    return Address(location, location, None, own | _further(settings))


def scheme(location: str) -> str:
    """Return `rtsp` of `rtsp://...`; empty for anything that is no URL."""
    return location.partition("://")[0].lower() if "://" in location else ""


def camera_format(location: str) -> str | None:
    """Return `dshow` of `dshow:video=NAME`, `v4l2` of a device node; None when it is no camera."""
    if Path(location).is_char_device():
        return "v4l2"
    prefix = location.partition(":")[0]
    return prefix if prefix in CAMERA_OPTIONS and ":" in location else None


def _camera(format_: str, location: str, settings: SourceSettings) -> Address:
    known = {name for names in av.formats_available for name in names.split(",")}
    if format_ not in known:
        here = ", ".join(sorted(CAMERA_OPTIONS.keys() & known)) or "none"
        shown = show_location(location)
        raise UsageError(f"{shown}: this FFmpeg cannot read {format_} devices; it knows {here}")
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
