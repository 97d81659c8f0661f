"""From a stream's packets to upright, progressive pictures with time stamps."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av

from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.ffmpeg.conversion import Orientation, Picture, upright_picture
from qlumen.realtime.sources.ffmpeg.deinterlace import Deinterlacer
from qlumen.realtime.sources.ffmpeg.timestamps import Timestamps

ASSUMED_RATE = Fraction(25)  # for frames without time stamps in a stream without a rate


class Decoding:
    """Decodes one video stream.

    Args:
        stream: its decoder is used, as it is set up.
        rate: frames per second in the mean; None when unknown.
        note: takes a line on what was changed in the pictures, often the same one again.
        failed: takes the error of each packet that could not be decoded.
        pool: gives the arrays of converted pictures.
    """

    def __init__(
        self,
        stream: av.video.stream.VideoStream,
        rate: Fraction | None,
        note: Callable[[str], None],
        failed: Callable[[av.error.FFmpegError], None],
        pool: FramePool | None = None,
    ) -> None:
        self._stream, self._note, self._failed = stream, note, failed
        self._pool = pool or FramePool()
        self._deinterlacer = Deinterlacer()
        self._timestamps = Timestamps(1 / ((rate or ASSUMED_RATE) * stream.time_base))

    def pictures(self, packets: Iterable[av.Packet | None]) -> Iterator[Picture]:
        """Each decoded frame, with `pts` in the stream's `time_base`. None among the packets
        makes the decoder give out the rest."""
        orientation = Orientation()
        for frame in self._progressive(packets):
            matrix = orientation.matrix(frame)
            self._note_frame(frame, turned=matrix is not None)
            yield upright_picture(frame, matrix, self._pool)

    def _progressive(self, packets: Iterable[av.Packet | None]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            for frame in self._decoded(packet):
                self._stamp(frame)
                yield from self._deinterlacer.feed(frame)
        yield from self._deinterlacer.flush()

    def _decoded(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            return self._stream.decode(packet)
        except av.error.FFmpegError as error:
            self._failed(error)
            self._note("damaged: frames up to the next key frame may be missing, too")
            return []

    def _stamp(self, frame: av.VideoFrame) -> None:
        frame.time_base = self._stream.time_base
        frame.pts = self._timestamps.of(frame.pts, frame.dts)
        if self._timestamps.estimated:
            self._note("time stamps missing or out of order were estimated")

    def _note_frame(self, frame: av.VideoFrame, *, turned: bool) -> None:
        if turned:
            self._note("turned upright, as the recording asks")
        if frame.is_corrupt:
            self._note("some frames are damaged and shown as far as they could be decoded")
        if self._deinterlacer.frames:
            self._note("interlaced frames deinterlaced")
        depth = frame.format.components[0].bits
        if depth > 8:
            self._note(f"{depth} bits a channel reduced to 8")
