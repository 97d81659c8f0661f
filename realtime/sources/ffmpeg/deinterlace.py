"""Interlaced pictures made progressive, one for one."""

from collections.abc import Iterator

import av

MIN_SIDE_PX = 8  # the filter refuses chroma planes of less than 3 pixels


class Deinterlacer:
    """FFmpeg's `bwdif` filter, from the first frame on that is flagged interlaced.

    Each frame that goes in comes out once, with its time stamp; progressive ones are
    not changed. While the filter works it holds one frame back.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._filter: _Filter | None = None

    def feed(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a frame, yield those that are ready. `frames` counts the interlaced ones."""
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
        """Yield what is held back; the next frame starts anew."""
        if self._filter is not None:
            yield from self._filter.put(None)
        self._filter = None


class _Filter:
    """The filter graph for frames of one size and pixel format."""

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
