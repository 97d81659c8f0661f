"""Compares what a container announces with what was read."""

from fractions import Fraction

import av

# These formats have the length of the whole recording in their header. For other formats FFmpeg
# measures the duration of the data that is there, cut short or not.
HEADER_DURATION_FORMATS = frozenset({"avi", "flv", "matroska,webm", "mxf"})
SLACK_SECONDS = Fraction(1, 4)  # headers round, and the last packet's duration is a guess


class PacketCount:
    """Counts what is read of a container, to find out if it is cut short.

    In the MP4 family and in AVI the index names every packet, so packets are counted, without
    those that an edit list removes. The formats of `HEADER_DURATION_FORMATS` are complete when
    any of their streams reaches the announced end.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> None:
        self._container = container
        self._stream = stream
        self._packets = 0
        self._reached_s = Fraction(0)

    def count(self, packet: av.Packet) -> None:
        """Count a packet of any stream; the empty packets at the end do not count."""
        if packet.stream_index == self._stream.index and (packet.size or packet.dts is not None):
            self._packets += not packet.is_discard
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._reached_s = max(self._reached_s, end)

    def missing(self) -> bool:
        """Check at the end whether less was read than was announced."""
        indexed = _is_mp4(self._container) or self._container.format.name == "avi"
        if indexed and self._packets < _count_indexed_packets(self._stream):
            return True
        end = self._read_end_s()
        return end is not None and self._reached_s + SLACK_SECONDS < end

    def _read_end_s(self) -> Fraction | None:
        if self._container.format.name not in HEADER_DURATION_FORMATS:
            return None
        if self._container.format.name == "avi":  # its duration is that of the file's size
            return self._stream.frames * self._stream.time_base
        return _container_seconds(self._container)


def frame_count(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> int | None:
    """Return the number of announced frames, or an estimate from the container's duration."""
    if stream.frames > 0:
        return _count_indexed_packets(stream) if _is_mp4(container) else int(stream.frames)
    rate = mean_rate(stream)
    own = None if stream.duration is None else stream.duration * stream.time_base
    seconds = own or _container_seconds(container)
    return round(seconds * rate) if rate and seconds else None


def mean_rate(stream: av.video.stream.VideoStream) -> Fraction | None:
    """Return the mean frames per second; None when unknown.

    FFmpeg's mean may be a placeholder: 25 for elementary streams, which have no time stamps, and
    one frame in each unit of time for raw DV and others.
    """
    mean, guess = stream.average_rate, stream.guessed_rate
    if mean and guess and (stream.start_time is None or (_is_unit(mean, stream) and guess < mean)):
        return Fraction(guess)
    rate = mean or guess
    return Fraction(rate) if rate else None


def _is_unit(rate: Fraction, stream: av.video.stream.VideoStream) -> bool:
    return stream.time_base is not None and rate * stream.time_base == 1


def _is_mp4(container: av.container.InputContainer) -> bool:
    return "mp4" in container.format.name.split(",")


def _count_indexed_packets(stream: av.video.stream.VideoStream) -> int:
    return sum(not entry.is_discard for entry in stream.index_entries)


def _container_seconds(container: av.container.InputContainer) -> Fraction | None:
    return None if container.duration is None else Fraction(container.duration, av.time_base)
