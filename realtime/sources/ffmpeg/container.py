"""Reads video files and streams: anything that FFmpeg opens, decoded by PyAV."""

import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import chain

import av

from qlumen.errors import NoFramesError, TruncatedError
from qlumen.realtime.config.source import Deinterlace
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.realtime.sources.ffmpeg.aspect import pixel_aspect
from qlumen.realtime.sources.ffmpeg.completeness import PacketCount, frame_count, mean_rate
from qlumen.realtime.sources.ffmpeg.decoding import Decoding
from qlumen.realtime.sources.ffmpeg.opening import open_location, other_streams_note, video_stream
from qlumen.realtime.sources.ffmpeg.timestamps import time_line
from qlumen.system.locations import show_location


class ContainerSource(Source):
    """Reads a video file, a stream's URL or a camera's device node.

    Time stamps are the source's own, absolute, and uneven if the source's are. Where they begin
    anew, as in joined files, the parts follow each other on one time line. Frames are
    upright and progressive with 8 bits, at their stored size (`info.pixel_aspect` says what shape
    their pixels have). The size may change in mid-stream. Audio is left out.

    `drops["decode_error"]` counts packets that could not be decoded. `info.notes` grows while
    frames are read, and reports damaged frames and fewer frames than announced.

    Args:
        location: path, URL, or device node such as `/dev/video0`.
        hardware: type of the device that must decode (`cuda`, `vaapi`, ...).
        threads: number of decoder threads. 0 splits each frame's slices over the cores and loses
            no frame that can be decoded. From 2 on, frames are decoded side by side. This is
            faster for 4K, but as many more frames are in memory, and those around a damaged
            end are lost.
        stream: number of the video stream; see `opening.video_stream`.
        deinterlace: frames to deinterlace; see `Deinterlacer`.
        pool: pool for the arrays of converted frames. Rounds of a loop share one, so that the
            arrays are not allocated again.

    Raises:
        SourceNotFoundError: there is no such file.
        NotAVideoError: a folder, or nothing in it that FFmpeg can decode as video.
        NoFramesError: the video has no frame that can be decoded.
        ConfigError: `hardware` is not a known type, or there is no such stream.
        SourceError: no permission, no connection, or no such hardware in this machine.
    """

    def __init__(
        self,
        location: str,
        *,
        hardware: str | None = None,
        threads: int = 0,
        stream: int | None = None,
        deinterlace: Deinterlace = "auto",
        pool: FramePool | None = None,
    ) -> None:
        self.drops, self._pool, self._deinterlace = Counter(), pool, deinterlace
        self._location = show_location(location)
        self._container = open_location(location, hardware)
        try:
            self._stream = video_stream(self._container, self._location, stream)
            self._stream.thread_type = "AUTO" if threads > 1 else "SLICE"
            self._stream.codec_context.thread_count = threads
            count = frame_count(self._container, self._stream)
            notes = tuple(_notes(self._container, self._stream, hardware))
            rate = mean_rate(self._stream)
            self.info = SourceInfo(self._location, None, None, rate, count, notes=notes)
            self._start()
        except BaseException:
            self._container.close()
            raise

    def frames(self) -> Iterator[Frame]:
        yield from self._all

    def close(self) -> None:
        """Close the file; call this in the thread that reads, or after it has ended."""
        self._rest.close()
        self._container.close()

    def _start(self) -> None:
        """Decode the first frame, so that a video without any frame is an error here."""
        self._reading = PacketCount(self._container, self._stream)
        self._time_line = time_line(self._container, self.info.fps)
        self._stopped_by: av.error.FFmpegError | None = None
        self._decode_error: av.error.FFmpegError | None = None
        self._rest = self._frames()
        try:
            first = next(self._rest)
        except (StopIteration, TruncatedError) as error:
            raise NoFramesError(self._no_frames()) from error
        self._all = chain([first], self._rest)
        (width, height), aspect = first.size, pixel_aspect(self._stream, first.size)
        self.info = replace(self.info, width=width, height=height, pixel_aspect=aspect)

    def _frames(self) -> Generator[Frame]:
        delivered = 0
        decoding = Decoding(
            self._stream, self.info.fps, self._note, self._note_failure, self._pool,
            deinterlace=self._deinterlace,
        )  # fmt: skip
        for frame, pixels in decoding.frames(self._packets()):
            yield Frame(delivered, frame.pts, frame.time_base, pixels, time.monotonic_ns())
            delivered += 1
        if self._stopped_by is not None or self._reading.missing():
            raise TruncatedError(self._cut_short(delivered))
        announced = self.info.frame_count
        if announced is not None and delivered < announced:
            self._note(f"{delivered} of about {announced} announced frames could be read")

    def _packets(self) -> Iterator[av.Packet | None]:
        """Yield the stream's packets, and None at the end to flush the decoder."""
        try:
            # All streams are read: the length of the longest shows whether one was cut.
            for packet in self._container.demux():
                self._reading.count(packet)
                if packet.stream_index == self._stream.index and packet.size:
                    self._time_line.place(packet)
                    if self._time_line.joints:
                        self._note("time stamps begin anew: the parts were put one after the other")
                    yield packet
        except av.error.FFmpegError as error:
            self._stopped_by = error
        yield None

    def _note_failure(self, error: av.error.FFmpegError) -> None:
        self._decode_error = error
        self.drops["decode_error"] += 1

    def _note(self, text: str) -> None:
        if text not in self.info.notes:
            self.info = replace(self.info, notes=(*self.info.notes, text))

    def _no_frames(self) -> str:
        reason = self._decode_error or self._stopped_by
        cause = f" (FFmpeg: {reason.strerror})" if reason else ""
        return (
            f"{self._location} has a video stream ({self._stream.codec_context.name}) but no "
            f"frame that can be decoded{cause}; copy or export the recording again"
        )

    def _cut_short(self, delivered: int) -> str:
        announced = self.info.frame_count
        of = f" of {announced}" if announced else ""
        cause = f" (FFmpeg: {self._stopped_by.strerror})" if self._stopped_by else ""
        return (
            f"{self._location} is cut short or damaged{cause}: {delivered}{of} frames could be "
            "read and are kept; for the rest, copy or export the recording again"
        )


def _notes(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    hardware: str | None,
) -> Iterator[str]:
    if audio := len(container.streams.audio):
        yield f"{audio} audio stream{'s' * (audio > 1)} dropped"
    if others := other_streams_note(container, stream):
        yield others
    shape = stream.codec_context.sample_aspect_ratio
    if shape not in (None, 0, 1):
        yield f"pixels are not square ({shape.numerator}:{shape.denominator}), kept as stored"
    if hardware is not None:
        yield f"decoded on {hardware}"
