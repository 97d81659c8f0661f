"""Sends video for tests of live sources, by FFmpeg and GStreamer's RTSP server."""

import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from qlumen.realtime.sources.pattern import PatternSource

from support.media import write_video

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(
    FFMPEG is None, reason="needs the ffmpeg command (Debian: apt install ffmpeg)"
)
LOOPBACK = "127.0.0.1"
RATE = Fraction(50)
STEP_US = 20_000
"""Time between two frames of the pattern's clips."""
GROUP_FRAMES = 10
"""Frames from one key frame to the next: receivers can start soon."""
DAMAGED_SHARE = 0.9
FLIPPED_BITS = 8
RTSP_PACKAGES = (
    "Debian: apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad"
)
RTSP_IMPORTS = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
"""
RTSP_SERVER = (
    RTSP_IMPORTS
    + """
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( filesrc location="{sys.argv[2]}" ! qtdemux ! h264parse config-interval=-1 '
    "! rtph264pay name=pay0 pt=96 )"
)
server.get_mount_points().add_factory("/clip", factory)
assert server.attach(None)
GLib.MainLoop().run()
"""
)


def pattern_clip(
    path: Path, frames: int = 250, size: tuple[int, int] = (352, 288), b_frames: int = 0
) -> Path:
    """Write the test pattern as a video; each frame shows its number."""
    source = PatternSource(*size, RATE)
    options = {"preset": "ultrafast", "g": str(GROUP_FRAMES), "bf": str(b_frames)}
    images = [source.picture(index) for index in range(frames)]
    return write_video(path, images, rate=RATE, options=options)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Sender:
    """Runs a process that sends until it is killed at the end of the block."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Sender":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __enter__(self) -> "Sender":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._send(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def ffmpeg_sender(clip: Path, url: str, *output: str) -> Sender:
    """Send the clip as it is, at its rate, again and again, with these output options."""
    assert FFMPEG is not None
    clip_at_its_rate = ["-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy"]
    return Sender([FFMPEG, "-loglevel", "error", *clip_at_its_rate, *output, url])


class DamagingRelay:
    """Passes datagrams on to a port, and flips bits in most of those with numbers in `damaged`.

    It may also flip bits of the headers, so that whole packets are lost.
    """

    def __init__(self, target: int, damaged: range) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self.passed = 0
        self._target, self._damaged = target, damaged
        self._random = random.Random(0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "DamagingRelay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with (
            socket.socket(type=socket.SOCK_DGRAM) as inner,
            socket.socket(type=socket.SOCK_DGRAM) as outer,
        ):
            inner.bind((LOOPBACK, self.port))
            inner.settimeout(0.1)
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    data = inner.recv(65536)
                    outer.sendto(self._damage(data), (LOOPBACK, self._target))
                    self.passed += 1

    def _damage(self, data: bytes) -> bytes:
        if self.passed not in self._damaged or self._random.random() > DAMAGED_SHARE:
            return data
        result = bytearray(data)
        for _ in range(FLIPPED_BITS):
            result[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return bytes(result)


@contextmanager
def rtsp_server(clip: Path, port: int) -> Iterator[str]:
    """Serve the clip by GStreamer's RTSP server in another process, and yield its URL.

    The test is skipped where the server is not installed.
    """
    python = _python_with_gstreamer()
    if python is None:
        pytest.skip(f"needs GStreamer's RTSP server ({RTSP_PACKAGES})")
    with Sender([python, "-c", RTSP_SERVER, str(port), str(clip)]):
        wait_for_port(port)
        yield f"rtsp://{LOOPBACK}:{port}/clip"


def wait_for_port(port: int, seconds: float = 20) -> None:
    """Wait until a process listens at the port."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"no process listens at port {port}")


@cache
def _python_with_gstreamer() -> str | None:
    """Return the system's Python: Debian has GStreamer's bindings for it."""
    python = shutil.which("python3", path="/usr/bin")
    check = RTSP_IMPORTS + "Gst.init(None); assert Gst.ElementFactory.find('rtph264pay')"
    if python is None or subprocess.run([python, "-c", check], capture_output=True).returncode:
        return None
    return python
