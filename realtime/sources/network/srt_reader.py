"""SRT where PyAV's FFmpeg was built without it: the `ffmpeg` command passes the bytes on."""

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
"""From the end of its output to the command's own, at most."""
# "data" is FFmpeg's format for bytes that it does not look into.
RAW_INPUT = ("-probesize", "32", "-analyzeduration", "0", "-f", "data", "-i")
RAW_OUTPUT = ("-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data", "pipe:1")


def needs_relay(address: Address) -> bool:
    """Whether the address is one that PyAV's FFmpeg cannot open itself."""
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
    """A file for PyAV to read: what the command receives, unchanged.

    Args:
        timeout_s: the command ends by itself when nobody connects, or nothing comes, for so
            long; so it does not stay behind when this process is killed.

    Raises:
        MissingExtraError: there is no such command.
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
        """Up to `size` bytes as soon as there are any; none at the end."""
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def reason(self) -> str:
        """What the command said on its way out; empty if it still runs, or said nothing."""
        try:
            self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in lines if line.strip()), "")

    def end(self) -> None:
        """Make the command end; may be called by another thread than the one that reads."""
        self._process.kill()

    def close(self) -> None:
        self.end()
        self._process.communicate()
        self._errors.close()
