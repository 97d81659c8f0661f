"""Records the video with the overlay, of a replay or of a live session."""

import os
from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.h264 import EncodedVideo, Encoding, Muxing
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.files import part_path

FRAGMENT_S = 0.5


class VideoFile(EncodedVideo):
    """Writes H.264 with the source's own time stamps and without audio.

    The first frame sets the size. Odd sides are made even: the last row or column is repeated.
    For other sizes and bad time stamps see `EncoderInput`. `notes` lists what was changed.
    Colours are BT.709, limited range. Without any frame there is no file.
    """

    def __init__(self, path: Path, growing: Path, info: SourceInfo, encoding: Encoding) -> None:
        super().__init__(info, encoding)
        self._path, self._growing = path, growing
        self._whole_bytes = 0
        self._file = self._claim()

    def write(self, result: FrameResult) -> None:
        try:
            self._encode(result, self._file)
            self._file.flush()
            self._whole_bytes = self._file.tell()
        except (OSError, av.error.FFmpegError) as error:
            self._abandon()
            raise self._error(error) from error

    def close(self) -> None:
        if self._file.closed:
            return
        if self._writer is None:
            self._abandon()
            return
        try:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._growing.replace(self._path)
        except (OSError, av.error.FFmpegError) as error:
            self._abandon()
            raise self._error(error) from error

    @abstractmethod
    def _claim(self) -> BinaryIO:
        """Open the file that grows, without touching an older one."""

    def _abandon(self) -> None:
        """Keep only the whole fragments: half a fragment or half an index would spoil the file.

        A file without any is removed.
        """
        with suppress(OSError):
            self._file.close()
        if self._writer is not None:
            self._writer.abandon()
        with suppress(OSError):
            os.truncate(self._growing, self._whole_bytes)
        if not self._holds_frames():
            self._growing.unlink(missing_ok=True)

    def _holds_frames(self) -> bool:
        """Check whether what was recorded so far can be played."""
        if not self._whole_bytes:
            return False
        try:
            with av.open(str(self._growing)) as container:
                return any(packet.size for packet in container.demux(*container.streams.video))
        except (OSError, av.error.FFmpegError):
            return False

    def _error(self, error: OSError | av.error.FFmpegError) -> SinkError:
        grown = self._growing.exists()
        kept = f"; what was recorded so far is in {self._growing}" if grown else ""
        return SinkError(f"recording {self._path} cannot be written: {error.strerror}{kept}")


class Recorder(VideoFile):
    """Records a replay as MP4 with exact time stamps.

    The file grows as `.NAME.part` beside `path` and gets its name when it is closed, so only a
    complete recording replaces an older file. If the process is killed or the disk is full, the
    part stays until the next recording of that name. It plays up to the last fragment
    (2 seconds).

    Args:
        path: path of the file.
        info: description of the source; its mean rate guides the encoder's rate control.
        crf, preset, threads: see `Encoding`.

    Raises:
        SinkError: the file cannot be made or written (for example on a full disk).
    """

    wants_overlay = True

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        *,
        crf: int = 20,
        preset: str = "ultrafast",
        threads: int = 0,
    ) -> None:
        path = Path(path).resolve()
        # Not `system.files.replacing`: it removes the part, but a recording's part can be played.
        part = part_path(path)
        super().__init__(path, part, info, Encoding(crf, preset, threads))

    def _claim(self) -> BinaryIO:
        check_place(self._path)
        if self._path.exists() and not self._path.is_file():
            raise SinkError(f"{self._path} is not a regular file; choose another name")
        try:
            return self._growing.open("wb")
        except OSError as error:
            raise self._error(error) from error

    def _muxing(self, time_base: Fraction) -> Muxing:
        return Muxing.mp4(time_base)


class LiveRecorder(VideoFile):
    """Records a live session as fragmented MP4 or Matroska, under the final name.

    Each fragment goes to the operating system immediately, so after a kill or on a full disk
    the file plays and lacks one fragment at most. After a regular close players can seek in it.
    MP4 has exact time stamps in microseconds, but a gap of over 35 minutes (2^31 us) closes up.
    Matroska has whole milliseconds.

    Args:
        path: path of a new file that ends in `.mp4` or `.mkv`.
        info: description of the source; its mean rate guides the encoder's rate control.
        clean: whether to record the frames as they were grabbed, without the overlay.
        crf, preset, threads: see `Encoding`.
        fragment_s: seconds of video in a fragment.

    Raises:
        UsageError: the file exists, or its ending is another.
        SinkError: the file cannot be made or written (for example on a full disk).
    """

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        *,
        clean: bool = False,
        crf: int = 20,
        preset: str = "ultrafast",
        threads: int = 0,
        fragment_s: float = FRAGMENT_S,
    ) -> None:
        self.wants_overlay = not clean
        self._clean = clean
        self._fragment_s = fragment_s
        path = Path(path).resolve()
        super().__init__(path, path, info, Encoding(crf, preset, threads, low_latency=True))

    def write(self, result: FrameResult) -> None:
        super().write(replace(result, annotated=None) if self._clean else result)

    def _claim(self) -> BinaryIO:
        if self._path.suffix.lower() not in (".mp4", ".mkv"):
            raise UsageError(f"recording {self._path} must end in .mp4 or .mkv; rename it")
        check_place(self._path)
        try:
            return self._path.open("xb")
        except FileExistsError as error:
            raise UsageError(
                f"recording {self._path} exists and is kept; choose another name"
            ) from error
        except OSError as error:
            raise self._error(error) from error

    def _muxing(self, time_base: Fraction) -> Muxing:
        if self._path.suffix.lower() == ".mkv":
            return Muxing.matroska(self._fragment_s)
        return Muxing.mp4(time_base, self._fragment_s)


def check_place(path: Path) -> None:
    """Raise SinkError if no recording can be made at all."""
    if not path.parent.is_dir():
        raise SinkError(f"no folder {path.parent} for {path.name}; create it first")
    if "libx264" not in av.codecs_available:
        raise SinkError("this FFmpeg has no libx264; install PyAV's own build: pip install av")
