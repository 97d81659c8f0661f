"""Sends live video over the network."""

import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import urlsplit

import av

from qlumen.errors import MissingExtraError, SinkError, UsageError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.h264 import EncodedVideo, Encoding, Muxing
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.locations import show_location, without_secrets

UDP_PAYLOAD_BYTES = 1316  # seven packets of MPEG-TS, below the usual Ethernet limit
PROGRESS_BYTES = 65536


@dataclass(frozen=True, slots=True)
class _Protocol:
    """Holds FFmpeg's format and options; `external` if PyAV's FFmpeg lacks the protocol."""

    format: str
    options: dict[str, str]
    external: bool = False


_TRANSPORT_STREAM = {"pkt_size": str(UDP_PAYLOAD_BYTES), "flush_packets": "1"}
_RTMP = _Protocol("flv", {"flvflags": "no_duration_filesize", "flush_packets": "1"})
PROTOCOLS = {
    "rtmp": _RTMP,
    "rtmps": _RTMP,
    "rtsp": _Protocol("rtsp", {"rtsp_transport": "tcp"}),
    "srt": _Protocol("mpegts", _TRANSPORT_STREAM, external=True),
    "udp": _Protocol("mpegts", _TRANSPORT_STREAM),
}


class Streamer(EncodedVideo):
    """Streams H.264 with low latency to `rtmp(s)://`, `srt://`, `udp://` or `rtsp://`.

    It sends FLV to RTMP, and MPEG-TS to SRT and UDP. RTSP needs a server that takes the stream
    (interleaved in TCP). Frames are encoded here and sent by a separate process, so a dead
    network blocks `write` and `close` for `timeout_s` at most. Then, or when the other side
    refuses or ends, a `SinkError` is raised. The connection is made at the first frame. For
    frames of another size and bad time stamps see `EncoderInput`.

    Args:
        url: address of the receiver; its query may hold FFmpeg's options of the protocol.
        info: description of the source; its mean rate guides the encoder's rate control.
        crf, preset, threads: see `Encoding`.
        max_kbps: limit of the rate in kbit/s.
        keyframe_s: largest distance of key frames in seconds. A new viewer waits this long.
        timeout_s: longest wait for the network in seconds.

    Raises:
        UsageError: the protocol is not in `PROTOCOLS`.
        MissingExtraError: `srt://` needs the program `ffmpeg`, which is missing.
        SinkError: the network does not take the stream.
    """

    wants_overlay = True

    def __init__(
        self,
        url: str,
        info: SourceInfo,
        *,
        crf: int = 23,
        preset: str = "ultrafast",
        threads: int = 0,
        max_kbps: int = 8000,
        keyframe_s: float = 1.0,
        timeout_s: float = 5.0,
    ) -> None:
        encoding = Encoding(
            crf, preset, threads, low_latency=True, max_kbps=max_kbps, keyframe_seconds=keyframe_s
        )
        super().__init__(info, encoding)
        self._url = url
        self._relay = _Relay(_command(url, timeout_s), timeout_s)

    def write(self, result: FrameResult) -> None:
        try:
            self._encode(result, self._relay)
        except (OSError, av.error.FFmpegError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        if self._relay.closed:
            return
        try:
            if self._writer is not None:
                self._writer.finish()
            self._relay.finish(expect_success=self._writer is not None)
        except (OSError, av.error.FFmpegError) as error:
            raise self._error(error) from error
        finally:
            self._relay.kill()

    def _muxing(self, time_base: Fraction) -> Muxing:
        return Muxing("nut", {})

    def _error(self, error: OSError | av.error.FFmpegError) -> SinkError:
        self._relay.kill()
        if self._writer is not None:
            with suppress(OSError, av.error.FFmpegError):
                self._writer.abandon()
        reason = self._relay.last_error or error.strerror or str(error)
        return SinkError(
            f"stream to {show_location(self._url)} ended: {without_secrets(reason, self._url)}"
        )


class _Relay:
    """Wraps the sending process as a file that takes bytes.

    The process prints something each time it has sent something, and prints errors to another
    file. `last_error` is the last line of that file, known after `kill`.
    """

    def __init__(self, command: list[str], timeout_s: float) -> None:
        self.closed = False
        self.last_error = ""
        self._timeout_s = timeout_s
        self._waiting_since: float | None = None
        self._progress, progress = os.pipe()
        os.set_blocking(self._progress, False)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by kill
        self._socket, other = socket.socketpair()
        self._socket.settimeout(timeout_s)
        with other, os.fdopen(progress, "wb"):
            self._process = subprocess.Popen(
                command,
                stdin=other.fileno(),
                stdout=progress,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C goes to this process, which ends the other one
            )

    def write(self, data: bytes) -> int:
        """Send bytes; raise OSError if the process sends nothing in time, or has ended."""
        now = time.monotonic()
        if self._waiting_since is None or self._has_sent():
            self._waiting_since = now
        elif now > self._waiting_since + self._timeout_s:
            raise TimeoutError(f"nothing could be sent for {self._timeout_s} s")
        self._socket.sendall(data)
        return len(data)

    def finish(self, *, expect_success: bool) -> None:
        """Wait until the rest is sent; raise OSError if that takes too long or fails."""
        self._socket.close()
        try:
            code = self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError("the rest was not taken in time") from error
        if code and expect_success:
            raise ConnectionError(f"the sending process ended with code {code}")

    def kill(self) -> None:
        """End the process immediately; may be called twice."""
        if self.closed:
            return
        self.closed = True
        self._socket.close()
        self._process.kill()
        self._process.wait()
        os.close(self._progress)
        with self._log:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").split("\n")
        self.last_error = next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _has_sent(self) -> bool:
        try:
            return bool(os.read(self._progress, PROGRESS_BYTES))
        except BlockingIOError:
            return False


def _command(url: str, timeout_s: float) -> list[str]:
    scheme = urlsplit(url).scheme.lower()
    protocol = PROTOCOLS.get(scheme)
    if protocol is None:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise UsageError(f"cannot stream to {show_location(url)}; give one of {known}")
    if protocol.external:
        return _external(scheme, protocol, url)
    options = [f"{name}={value}" for name, value in protocol.options.items()]
    program = [sys.executable, "-m", "qlumen.realtime.sinks.packet_sender"]
    return [*program, str(math.ceil(2 * timeout_s)), protocol.format, url, *options]


def _external(scheme: str, protocol: _Protocol, url: str) -> list[str]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingExtraError(
            f"streaming to {scheme}:// needs the program ffmpeg; install it with your system's "
            "packages (Debian: apt install ffmpeg)"
        )
    options = [part for name, value in protocol.options.items() for part in (f"-{name}", value)]
    return [
        program,
        *("-hide_banner", "-loglevel", "error", "-nostdin"),
        *("-progress", "pipe:1", "-stats_period", "0.2"),
        *("-f", "nut", "-probesize", "32", "-analyzeduration", "0"),
        *("-i", "pipe:0", "-c", "copy", "-muxdelay", "0", "-muxpreload", "0"),
        *options,
        *("-f", protocol.format, url),
    ]
