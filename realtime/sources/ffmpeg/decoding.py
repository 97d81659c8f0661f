"""Decodes a stream's packets to upright, progressive frames with time stamps."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av

from qlumen.realtime.config.source import Deinterlace
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.ffmpeg.conversion import DecodedFrame, convert_frame
from qlumen.realtime.sources.ffmpeg.deinterlacing import Deinterlacer
from qlumen.realtime.sources.ffmpeg.hdr import NAMES, is_hdr
from qlumen.realtime.sources.ffmpeg.orientation import Orientation
from qlumen.realtime.sources.ffmpeg.timestamps import (
    ASSUMED_RATE,
    PresentationOrder,
    Timestamps,
)


class Decoding:
    """Decodes one video stream.

    Args:
        stream: stream whose decoder is used, with its settings.
        rate: mean frames per second; None when unknown.
        note: function that takes a line on a change of the frames, often the same line again.
        failed: function that takes the error of each packet that could not be decoded.
        pool: pool for the arrays of converted frames.
        deinterlace: frames to deinterlace, as `Deinterlacer`.
        refused: function that is called for each frame that steps back in time, which is left
            out; None: such frames are kept, and their time stamps estimated.
    """

    def __init__(
        self,
        stream: av.video.stream.VideoStream,
        rate: Fraction | None,
        note: Callable[[str], None],
        failed: Callable[[av.error.FFmpegError], None],
        pool: FramePool | None = None,
        *,
        deinterlace: Deinterlace = "auto",
        refused: Callable[[], None] | None = None,
    ) -> None:
        self._stream, self._note, self._failed = stream, note, failed
        self._pool = pool or FramePool()
        self._refused, self._order = refused, PresentationOrder()
        self._deinterlacer = Deinterlacer(deinterlace)
        self._timestamps = Timestamps(1 / ((rate or ASSUMED_RATE) * stream.time_base))

    def frames(self, packets: Iterable[av.Packet | None]) -> Iterator[DecodedFrame]:
        """Yield each decoded frame, with `pts` in the stream's `time_base`; a packet None makes the
        decoder return its remaining frames."""
        orientation = Orientation()
        for frame in self._progressive(packets):
            matrix = orientation.matrix(frame)
            self._note_frame(frame, turned=matrix is not None)
            yield convert_frame(frame, matrix, self._pool)

    def _progressive(self, packets: Iterable[av.Packet | None]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            for frame in self._decode(packet):
                if self._refused is not None and not self._order.is_kept(frame.pts):
                    self._refused()
                    continue
                self._stamp(frame)
                yield from self._deinterlacer.feed(frame)
        yield from self._deinterlacer.flush()

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            return self._stream.decode(packet)
        except av.error.FFmpegError as error:
            self._failed(error)
            self._note("damaged: frames up to the next key frame may also be missing")
            return []

    def _stamp(self, frame: av.VideoFrame) -> None:
        frame.time_base = self._stream.time_base
        frame.pts = self._timestamps.stamp(frame.pts, frame.dts)
        if self._timestamps.estimated:
            self._note("time stamps missing or out of order were estimated")

    def _note_frame(self, frame: av.VideoFrame, *, turned: bool) -> None:
        if turned:
            self._note("turned upright, as the recording asks")
        if frame.is_corrupt:
            self._note("some frames are damaged and shown as far as they could be decoded")
        if self._deinterlacer.note:
            self._note(self._deinterlacer.note)
        if is_hdr(frame):
            self._note(f"high dynamic range ({NAMES[frame.color_trc]}) mapped to ordinary video")
        depth = frame.format.components[0].bits
        if depth > 8:
            self._note(f"{depth} bits a channel reduced to 8")
