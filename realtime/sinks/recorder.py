"""The video with the overlay, as a file: of a replay, and of a live session."""

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

FRAGMENT_S = 0.5


class VideoFile(EncodedVideo):
    """H.264 with the source's own time stamps; no audio.

    The first frame gives the size. Odd sides are made even by repeating the last row or
    column; for other sizes and bad time stamps see `EncoderInput`. `notes` says what was
    changed. Colours are BT.709, limited range. Without any frame no file is made.
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
        """Leave the whole fragments: half a one or half an index would spoil the file."""
        with suppress(OSError):
            self._file.close()
        if self._writer is not None:
            self._writer.abandon()
        with suppress(OSError):
            os.truncate(self._growing, self._whole_bytes)
        if not self._whole_bytes:
            self._growing.unlink(missing_ok=True)

    def _error(self, error: OSError | av.error.FFmpegError) -> SinkError:
        grown = self._growing.exists()
        kept = f"; what was recorded so far is in {self._growing}" if grown else ""
        return SinkError(f"recording {self._path} cannot be written: {error.strerror}{kept}")


class Recorder(VideoFile):
    """MP4 with exact time stamps, of a replay.

    The file grows as `.NAME.part` beside `path` and takes its name when it is closed, so
    a file that had the name before is given up for a complete one only. When the process
    is killed or the disk is full, the part stays there, playable up to the last fragment
    (2 seconds), until the next recording of that name.

    Args:
        path: the file to write.
        info: of the source; its mean rate guides the encoder's rate control.
        crf, preset, threads: see `Encoding`.

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
        preset: str = "ultrafast",
        threads: int = 0,
    ) -> None:
        path = Path(path).resolve()
        # Not `system.files.replacing`, which removes the part: a recording's part can be played.
        part = path.with_name(f".{path.name}.part")
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
    """Fragmented MP4 or Matroska of a live session, written under its own name.

    Each fragment goes to the operating system at once, so a killed process leaves a file
    that plays and lacks one fragment at most; so does a full disk. A regular close makes
    it a whole file that players can seek in. Time stamps are exact in MP4, where
    they are in microseconds but for gaps of over 35 minutes (2^31 us), which close up;
    in Matroska they are in whole milliseconds.

    Args:
        path: ends in `.mp4` or `.mkv`; must not exist.
        info: of the source; its mean rate guides the encoder's rate control.
        clean: record the frames as they were grabbed, without the overlay.
        crf, preset, threads: see `Encoding`.
        fragment_s: seconds of video in a fragment.

    Raises:
        UsageError: the file exists, or its ending is another.
        SinkError: the file cannot be made, or not be written to (a full disk).
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
            raise UsageError(f"recording {self._path} has to end in .mp4 or .mkv; rename it")
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
    """Raise SinkError where no recording can be made at all."""
    if not path.parent.is_dir():
        raise SinkError(f"no folder {path.parent} for {path.name}; create it first")
    if "libx264" not in av.codecs_available:
        raise SinkError("this FFmpeg has no libx264; install PyAV's own build: pip install av")
