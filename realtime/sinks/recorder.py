"""The video with the overlay, as a file."""

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av

from qlumen.realtime.errors import SinkError
from qlumen.realtime.frames import Frame, FrameResult, Image
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.h264 import H264Writer, padded
from qlumen.realtime.sinks.yuv import fit
from qlumen.realtime.sources.base import SourceInfo

ASSUMED_RATE = Fraction(25)
MAX_RATE_DENOMINATOR = 1_000_000
MAX_SIDE_PX = 16384


class Recorder(Sink):
    """H.264 in MP4 with the source's own time stamps, exactly; no audio.

    The file grows as `.NAME.part` beside `path` and takes its name when it is closed, so
    a file that had the name before is given up for a complete one only. When the process
    is killed or the disk is full, the part stays there, playable up to the last fragment
    (2 seconds), until the next recording of that name. Without any frame no file is made.

    The first frame gives the size. Odd sides are made even by repeating the last row or
    column; frames of another size are scaled to fit between black bars (`rescaled`
    counts them). A time stamp that does not come after the one before is moved to the
    next tick (`nudged` counts them); where the first is negative, all are moved to start
    at 0. `notes` says what was changed. Colours are BT.709, limited range.

    Args:
        path: the file to write.
        info: of the source; its mean rate guides the encoder's rate control.
        crf: quality, 0 (lossless) to 51; 18 and less looks lossless.
        preset: x264's trade of time for size, `ultrafast` to `placebo`.
        threads: encoder threads; 0 for one a core, 4 at most.

    Raises:
        SinkError: the file cannot be made, or not be written to (a full disk).
    """

    wants_overlay = True

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        *,
        crf: int = 20,
        preset: str = "veryfast",
        threads: int = 0,
    ) -> None:
        self.rescaled = 0
        self.nudged = 0
        self.notes: list[str] = []
        self._path = Path(path).resolve()
        self._part = self._path.with_name(f".{self._path.name}.part")
        self._rate = (info.fps or ASSUMED_RATE).limit_denominator(MAX_RATE_DENOMINATOR)
        self._crf, self._preset, self._threads = crf, preset, threads
        self._writer: H264Writer | None = None
        self._claim()

    def write(self, result: FrameResult) -> None:
        image = result.frame.image if result.drawn is None else result.drawn
        try:
            if self._writer is None:
                self._writer = self._started(result.frame, image)
            self._writer.write(self._sized(image), self._pts(result.frame))
        except (OSError, av.error.FFmpegError) as error:
            self._abandon()
            raise self._error(error) from error

    def close(self) -> None:
        if self._file.closed:
            return
        if self._writer is None:
            self._abandon()
        else:
            self._finish(self._writer)

    def _claim(self) -> None:
        """Make sure that the file can be written, without touching an older one."""
        if not self._path.parent.is_dir():
            raise SinkError(f"no folder {self._path.parent} for {self._path.name}; create it first")
        if self._path.exists() and not self._path.is_file():
            raise SinkError(f"{self._path} is not a regular file; choose another name")
        if "libx264" not in av.codecs_available:
            raise SinkError("this FFmpeg has no libx264; install PyAV's own build: pip install av")
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise self._error(error) from error

    def _started(self, frame: Frame, image: Image) -> H264Writer:
        self._size = width, height = image.shape[1], image.shape[0]
        if max(self._size) > MAX_SIDE_PX:
            raise SinkError(
                f"frames of {width}x{height} are too large to record; x264 takes sides of up to "
                f"{MAX_SIDE_PX} px: leave out the recording or scale the source down"
            )
        self._time_base = frame.time_base
        self._shift = max(0, -frame.pts)
        self._last_pts = self._shift + frame.pts - 1
        if self._shift:
            self.notes.append("time stamps moved to start at 0: MP4 has no negative ones")
        if padded(self._size) != self._size:
            even = "{}x{}".format(*padded(self._size))
            self.notes.append(f"odd size {width}x{height} padded to {even}")
        return H264Writer(
            self._file,
            self._size,
            self._time_base,
            self._rate,
            crf=self._crf,
            preset=self._preset,
            threads=self._threads,
        )

    def _sized(self, image: Image) -> Image:
        if (image.shape[1], image.shape[0]) == self._size:
            return image
        if not self.rescaled:
            self.notes.append("frames of another size scaled to that of the first")
        self.rescaled += 1
        return fit(image, self._size)

    def _pts(self, frame: Frame) -> int:
        pts = round(frame.pts * frame.time_base / self._time_base) + self._shift
        if pts <= self._last_pts:
            if not self.nudged:
                self.notes.append("time stamps that did not increase moved to the next tick")
            self.nudged += 1
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts

    def _finish(self, writer: H264Writer) -> None:
        try:
            writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except (OSError, av.error.FFmpegError) as error:
            self._abandon()
            raise self._error(error) from error

    def _abandon(self) -> None:
        """Leave the part as it is: an index that does not fit would spoil it."""
        with suppress(OSError):
            self._file.close()
        if self._writer is not None:
            self._writer.abandon()
        if self._part.stat().st_size == 0:
            self._part.unlink()

    def _error(self, error: OSError | av.error.FFmpegError) -> SinkError:
        kept = f"; what was recorded so far is in {self._part}" if self._part.exists() else ""
        return SinkError(f"recording {self._path} cannot be written: {error.strerror}{kept}")
