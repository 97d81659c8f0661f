"""Checks cameras, the display, and the formats that FFmpeg's libraries in PyAV can handle."""

import sys
from pathlib import Path

import cv2
from av.codec import codecs_available
from av.codec.hwaccel import hwdevices_available

from qlumen.errors import SinkError
from qlumen.realtime.doctor.machine import Check
from qlumen.realtime.sinks.monitor import check_display

V4L2 = Path("/sys/class/video4linux")
ENCODER = "libx264"
DECODERS = ("h264", "hevc", "mpeg2video", "mjpeg", "vp9", "av1")


def video_checks() -> list[Check]:
    """Check cameras, display, encoder, decoders and hardware decoding."""
    opencv = Check("OpenCV", "ok", cv2.__version__)
    return [*_cameras(), _display(), _encoder(), _decoders(), _hardware(), opencv]


def _cameras() -> list[Check]:
    if sys.platform != "linux":
        return [Check("cameras", "absent", "this system does not list them")]
    found = [_camera(folder) for folder in sorted(V4L2.glob("video*"))]
    return found or [Check("cameras", "absent", "no camera or capture card is connected")]


def _camera(folder: Path) -> Check:
    device = Path("/dev") / folder.name
    name = (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
    try:
        device.open("rb").close()
    except OSError as error:
        command = "sudo usermod -aG video $USER, then log in again"
        return Check(str(device), "absent", f"{name}: {error.strerror}", command)
    return Check(str(device), "ok", f"{name}: qlumen live v4l2:{device}")


def _display() -> Check:
    try:
        check_display()
    except SinkError as error:
        command = "start from a graphical session, or leave out --monitor"
        return Check("display", "absent", str(error).partition(";")[0], command)
    return Check("display", "ok", "a window can be opened")


def _encoder() -> Check:
    if ENCODER in codecs_available:
        return Check("H.264 encoder", "ok", ENCODER)
    return Check("H.264 encoder", "failed", f"PyAV has no {ENCODER}", "pip install av")


def _decoders() -> Check:
    found = [name for name in DECODERS if name in codecs_available]
    missing = [name for name in DECODERS if name not in found]
    if missing:
        detail = f"{', '.join(found)}; without {', '.join(missing)}"
        return Check("decoders", "absent", detail, "pip install av")
    return Check("decoders", "ok", ", ".join(found))


def _hardware() -> Check:
    """Check what FFmpeg was built for; only its use shows whether the hardware is there."""
    known = hwdevices_available()
    detail = f"PyAV knows {', '.join(known)}: source.hardware" if known else "PyAV has no support"
    return Check("hardware decoding", "ok" if known else "absent", detail)
