"""Reads SRT with the `ffmpeg` command, because PyAV's FFmpeg may be built without SRT."""

import shutil
import subprocess
import tempfile

import av

from qlumen.errors import MissingExtraError
from qlumen.realtime.sources.ffmpeg.addresses import Address, scheme
from qlumen.system.closing import Closing

PROGRAM = "ffmpeg"
US_PER_S = 1_000_000
QUIET = ("-nostdin", "-loglevel", "error")
EXIT_S = 0.5
"""Longest time from the end of the command's output to its exit, in seconds."""
# "data" is FFmpeg's format for bytes that it does not read.
RAW_INPUT = ("-probesize", "32", "-analyzeduration", "0", "-f", "data", "-i")
RAW_OUTPUT = ("-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data", "pipe:1")


def needs_relay(address: Address) -> bool:
    """Check whether PyAV's FFmpeg cannot open the address itself."""
    if scheme(address.location) != "srt":
        return False
    try:
        av.open("srt:").close()
    except av.error.ProtocolNotFoundError:
        return True
    except av.error.FFmpegError:
        return False
    return False


class Relay(Closing):
    """Provides a file for PyAV with the bytes that the command receives, unchanged.

    Args:
        timeout_s: seconds without a connection or data after which the command ends on its own,
            so that it does not stay behind when this process is killed.

    Raises:
        MissingExtraError: the command is missing.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise MissingExtraError(
                f"{address.shown}: SRT needs the command {PROGRAM} on the path, built with SRT "
                "(Debian: apt install ffmpeg); or send RTSP, RTMP or UDP"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        timeout_us = str(round(timeout_s * US_PER_S))
        limits = ("-timeout", timeout_us, "-listen_timeout", timeout_us)
        self._process = subprocess.Popen(
            [program, *QUIET, *limits, *RAW_INPUT, address.name, *RAW_OUTPUT],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes as soon as there are any; no bytes at the end."""
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def reason(self) -> str:
        """Return the command's error message; empty if it still runs, or wrote nothing."""
        try:
            self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in lines if line.strip()), "")

    def end(self) -> None:
        """End the command; another thread than the one that reads may call this."""
        self._process.kill()

    def close(self) -> None:
        self.end()
        self._process.communicate()
        self._errors.close()
