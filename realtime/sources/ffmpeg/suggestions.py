"""Suggests what to type for a location that is no file."""

import re
import sys
from pathlib import Path

from qlumen.system.locations import printable

DEVICES = Path("/dev")
CAMERA = re.compile(r"\d+|(usb|v4l2?|video|cam(era)?|webcam)(:?/*(video)?\d*)", re.IGNORECASE)
"""Matches what other programs take for a camera: its number, or a word with a number."""
PATTERN = re.compile(r"%0?\d*d|[*?\[]")
"""Matches a place for numbers, as FFmpeg has it, or for any letters, as a shell has it."""


def suggest(location: str) -> str:
    """Return what to type instead of a location that does not exist.

    Cameras that are plugged in are named. A pattern of images is given as its folder.
    """
    if location == "-":
        return "to read from a pipe, give /dev/stdin"
    if CAMERA.fullmatch(location) or location.startswith("/dev/video"):
        if not DEVICES.is_dir():
            return "a camera is named like dshow:video=NAME"
        if sys.platform == "darwin":
            return "a camera is named like avfoundation:0"
        cameras = sorted(str(path) for path in DEVICES.glob("video*"))
        if cameras:
            return f"cameras here: {', '.join(cameras)}"
        return "a camera is named like /dev/video0, and none is plugged in here"
    if PATTERN.search(location):
        folder = printable(str(Path(location).parent))
        return (
            f"give the folder {folder} instead, with --sequence (live: --set source.sequence=true) "
            "if its images follow each other in time"
        )
    return "check the path"
