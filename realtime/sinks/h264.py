"""Encodes frames as H.264 with their time stamps into an open file."""

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av

from qlumen.errors import SinkError
from qlumen.realtime.frames import Frame, FrameResult
from qlumen.realtime.pixels.yuv import even_size, fit, to_video_frame
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.machine import usable_cores

MAX_SIDE_PX = 16384
ASSUMED_RATE = Fraction(25)
MAX_RATE_DENOMINATOR = 1_000_000


class EncoderInput:
    """Prepares results for the encoder; the first frame sets the size and the time base.

    Frames of another size are scaled to fit between black bars (`rescaled` counts them).
    A time stamp that is not later than the last one is moved to the next tick (`nudged` counts
    them). If the first one is negative, all are moved to start at 0. `notes` gets a line for
    each kind of change.

    Raises:
        SinkError: the frame is larger than x264 takes.
    """

    def __init__(self, frame: Frame, notes: list[str]) -> None:
        self.size = width, height = frame.size
        if max(self.size) > MAX_SIDE_PX:
            raise SinkError(
                f"frames of {width}x{height} are too large to record; x264 takes sides up to "
                f"{MAX_SIDE_PX} px: do not record, or scale the source down"
            )
        self.time_base = frame.time_base
        self.rescaled = 0
        self.nudged = 0
        self._notes = notes
        self._shift = max(0, -frame.pts)
        self._last_pts = self._shift + frame.pts - 1
        if self._shift:
            notes.append("time stamps moved to start at 0: video files take no negative ones")
        if even_size(self.size) != self.size:
            even = "{}x{}".format(*even_size(self.size))
            notes.append(f"odd size {width}x{height} padded to {even}")

    def make_frame(self, result: FrameResult) -> av.VideoFrame:
        """Make the frame to encode for a result, at the first frame's size (`Pixels.yuv420p`)."""
        pixels = result.frame.pixels if result.annotated is None else result.annotated
        if pixels.size == self.size:
            return pixels.yuv420p()
        if not self.rescaled:
            self._notes.append("frames of another size scaled to that of the first")
        self.rescaled += 1
        return to_video_frame(fit(pixels.bgr(), self.size))

    def pts(self, frame: Frame) -> int:
        """Return the frame's time in units of `time_base`, later than the frame before."""
        pts = round(frame.pts * frame.time_base / self.time_base) + self._shift
        if pts <= self._last_pts:
            if not self.nudged:
                self._notes.append("time stamps that did not increase moved to the next tick")
            self.nudged += 1
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts


KEYFRAME_SECONDS = 2.0  # players seek in these steps
MAX_KEYFRAME_FRAMES = 250
MAX_AUTO_THREADS = 4  # each thread of x264 holds frames: 64 of them would hold 200 MB
BUFFER_SECONDS = 0.5  # a rate limit holds over this time
MICROSECONDS = 1_000_000
MILLISECONDS = 1000
SPC_BT709 = PRI_BT709 = TRC_BT709 = 1  # ITU-T H.273
RANGE_LIMITED = 1  # libavutil, AVCOL_RANGE_MPEG


class Writable(Protocol):
    def write(self, data: bytes, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """Describes how x264 encodes.

    Attributes:
        crf: quality, 0 (lossless) to 51; 18 and less looks lossless.
        preset: trade of time for size, `ultrafast` to `placebo`.
        threads: number of threads; 0 for one a core, `MAX_AUTO_THREADS` at most.
        low_latency: whether each frame leaves the encoder before the next one comes. This
            makes files larger (no look-ahead, no B-frames).
        max_kbps: limit of the rate in kbit/s; None for no limit.
        keyframe_seconds: largest distance of key frames in seconds.
    """

    crf: int
    preset: str
    threads: int = 0
    low_latency: bool = False
    max_kbps: int | None = None
    keyframe_seconds: float = KEYFRAME_SECONDS

    def options(self, rate: Fraction) -> dict[str, str]:
        gap = min(MAX_KEYFRAME_FRAMES, max(1, round(self.keyframe_seconds * rate)))
        options = {"crf": str(self.crf), "preset": self.preset, "g": str(gap)}
        if self.low_latency:
            options["tune"] = "zerolatency"
        if self.max_kbps:
            options["maxrate"] = f"{self.max_kbps}k"
            options["bufsize"] = f"{round(self.max_kbps * BUFFER_SECONDS)}k"
        return options


@dataclass(frozen=True, slots=True)
class Muxing:
    """Holds the container's format and options, by FFmpeg's names."""

    format: str
    options: dict[str, str]

    @classmethod
    def mp4(cls, time_base: Fraction, fragment_s: float | None = None) -> "Muxing":
        """Choose an MP4 that plays in fragments while it grows and is ordinary when finished.

        A fragment ends before each key frame, or after `fragment_s` seconds.
        """
        # In milliseconds, the default, the time of the first frame would be rounded.
        options = {"movie_timescale": str(time_base.denominator)}
        flags = "hybrid_fragmented+delay_moov"
        if fragment_s is None:
            return cls("mp4", options | {"movflags": f"{flags}+frag_keyframe"})
        duration = str(round(fragment_s * MICROSECONDS))
        return cls("mp4", options | {"movflags": flags, "frag_duration": duration})

    @classmethod
    def matroska(cls, fragment_s: float) -> "Muxing":
        """Choose a Matroska file that plays while it grows; its times are whole milliseconds."""
        limit = str(round(fragment_s * MILLISECONDS))
        return cls("matroska", {"cluster_time_limit": limit})


class H264Writer:
    """Encodes with libx264 into an open file; `finish` completes the container.

    The video is BT.709, limited range, and flagged so. Odd sides are made even. The data of a
    fragment is written when the fragment is complete. Errors are those of the file and
    `av.error.FFmpegError`.

    Args:
        file: binary file; the caller closes it.
        muxing: format of the container; MP4 and Matroska need a file that can seek.
        size: width and height of all frames in pixels.
        time_base: seconds per unit of `pts`.
        rate: mean frames per second, for the encoder's rate control.
        pixel_aspect: see `SourceInfo`; players stretch the frames so.
    """

    def __init__(
        self,
        file: Writable,
        muxing: Muxing,
        encoding: Encoding,
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self._time_base = time_base
        options = {"flush_packets": "1", **muxing.options}
        self._container = av.open(file, "w", format=muxing.format, container_options=options)
        self._stream = self._container.add_stream(
            "libx264", rate=rate, options=encoding.options(rate)
        )
        self._stream.width, self._stream.height = even_size(size)
        self._stream.pix_fmt = "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = time_base
        self._stream.sample_aspect_ratio = codec.sample_aspect_ratio = pixel_aspect
        codec.thread_count = encoding.threads or min(MAX_AUTO_THREADS, usable_cores())
        codec.colorspace, codec.color_range = SPC_BT709, RANGE_LIMITED
        codec.color_primaries, codec.color_trc = PRI_BT709, TRC_BT709
        codec.open()

    def write(self, frame: av.VideoFrame, pts: int) -> None:
        """Encode a `yuv420p` frame of the writer's size; `pts` must increase."""
        frame.pts, frame.time_base = pts, self._time_base
        self._encode(frame)

    def finish(self) -> None:
        """Encode the frames that are held back and write the index."""
        self._encode(None)
        self._container.close()

    def abandon(self) -> None:
        """Release everything after the file was closed, and write nothing more."""
        self._container.close()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


class EncodedVideo(Sink):
    """Encodes what it gets; the first frame sets the size and the time base.

    Args:
        info: description of the source; its mean rate guides the encoder's rate control, and the
            video has the shape of its pixels.
    """

    def __init__(self, info: SourceInfo, encoding: Encoding) -> None:
        self._pixel_aspect = info.pixel_aspect
        self.notes: list[str] = []
        self._rate = (info.fps or ASSUMED_RATE).limit_denominator(MAX_RATE_DENOMINATOR)
        self._encoding = encoding
        self._input: EncoderInput | None = None
        self._writer: H264Writer | None = None

    @property
    def rescaled(self) -> int:
        """Return the number of frames of another size than the first."""
        return self._input.rescaled if self._input else 0

    @property
    def nudged(self) -> int:
        """Return the number of frames whose time stamps were moved."""
        return self._input.nudged if self._input else 0

    @abstractmethod
    def _muxing(self, time_base: Fraction) -> Muxing:
        """Return the container to write."""

    def _encode(self, result: FrameResult, file: Writable) -> None:
        """Encode a frame into `file`; each call gets the same file."""
        if self._input is None or self._writer is None:
            self._input = given = EncoderInput(result.frame, self.notes)
            muxing, base = self._muxing(given.time_base), given.time_base
            self._writer = H264Writer(
                file, muxing, self._encoding, given.size, base, self._rate, self._pixel_aspect
            )
        self._writer.write(self._input.make_frame(result), self._input.pts(result.frame))
