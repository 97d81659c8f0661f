"""Decodes a stream's packets to upright, progressive frames with time stamps."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av

from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.ffmpeg.conversion import DecodedFrame, Orientation, convert_frame


class Timestamps:
    """Gives each frame, in presentation order, its time stamp.

    This is the frame's own `pts`, except if it is missing or not later than the last one:
    - Some containers (AVI) store only the order of decoding. From the first such frame on the
      decoding time stamp is used, as in FFmpeg's "best effort".
    - Without that one also, a missing time stamp is one step after the last one.
    - A recording that goes back in time (such as two that were joined) stays as it is.

    `estimated` counts the time stamps that are not the frames' own.

    Args:
        step: mean step from one frame to the next, in units of the time stamps.
    """

    def __init__(self, step: Fraction) -> None:
        self.estimated = 0
        self._step = step
        self._last: int | None = None
        self._next = Fraction(0)
        self._disordered = False

    def stamp(self, pts: int | None, dts: int | None) -> int:
        """Return the time stamp of the next frame."""
        self._disordered |= pts is not None and not self._advances(pts)
        chosen = self._choose(pts, dts)
        self.estimated += chosen != pts
        # The sum is a fraction, so that a row of estimates does not drift.
        self._next = (self._next if chosen == round(self._next) else chosen) + self._step
        self._last = chosen
        return chosen

    def _choose(self, pts: int | None, dts: int | None) -> int:
        if pts is not None and not self._disordered:
            return pts
        if dts is not None and (pts is None or self._advances(dts)):
            return dts
        if pts is not None and (dts is not None or self._advances(pts)):
            return pts
        return round(self._next)

    def _advances(self, stamp: int) -> bool:
        return self._last is None or stamp > self._last


MIN_SIDE_PX = 8  # the filter refuses chroma planes of less than 3 pixels


class Deinterlacer:
    """Applies FFmpeg's `bwdif` filter, from the first frame on that is flagged interlaced.

    Each frame that goes in comes out once, with its time stamp; progressive frames are not
    changed. While the filter works it holds one frame back.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._filter: _Filter | None = None

    def feed(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a frame and yield those that are ready; `frames` counts the interlaced ones."""
        interlaced = frame.interlaced_frame and min(frame.width, frame.height) >= MIN_SIDE_PX
        self.frames += interlaced
        if self._filter is not None and not self._filter.takes(frame):
            yield from self.flush()
        if self._filter is None and interlaced:
            self._filter = _Filter(frame)
        if self._filter is None:
            yield frame
        else:
            yield from self._filter.put(frame)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are held back; the next frame starts again."""
        if self._filter is not None:
            yield from self._filter.put(None)
        self._filter = None


class _Filter:
    """Runs the filter graph for frames of one size and pixel format."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._layout = _layout(frame)
        self._time_base = frame.time_base
        width, height, pixels = self._layout
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=width, height=height, format=pixels, time_base=frame.time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def takes(self, frame: av.VideoFrame) -> bool:
        return _layout(frame) == self._layout

    def put(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Push a frame, or None for the end, and yield those that are ready."""
        self._graph.vpush(frame)
        while True:
            try:
                ready = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            ready.pts = int(ready.pts * ready.time_base / self._time_base)  # it counts halves
            ready.time_base = self._time_base
            yield ready


def _layout(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


ASSUMED_RATE = Fraction(25)  # for frames without time stamps in a stream without a rate


class Decoding:
    """Decodes one video stream.

    Args:
        stream: stream whose decoder is used, with its settings.
        rate: mean frames per second; None when unknown.
        note: function that takes a line on a change of the frames, often the same line again.
        failed: function that takes the error of each packet that could not be decoded.
        pool: pool for the arrays of converted frames.
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
        if self._deinterlacer.frames:
            self._note("interlaced frames deinterlaced")
        depth = frame.format.components[0].bits
        if depth > 8:
            self._note(f"{depth} bits a channel reduced to 8")
