"""Makes progressive frames of interlaced ones."""

from collections.abc import Iterator

import av

from qlumen.realtime.config.source import Deinterlace

MIN_SIDE_PX = 8  # the filter refuses chroma planes of less than 3 pixels
NOTES: dict[Deinterlace, str] = {
    "auto": "interlaced frames deinterlaced",
    "always": "all frames deinterlaced, as source.deinterlace asks",
    "never": "interlaced frames are shown as they are, as source.deinterlace asks",
}


class Deinterlacer:
    """Applies FFmpeg's `bwdif` filter, from the first interlaced frame on.

    Each frame that goes in comes out once, with its time stamp; progressive frames are not
    changed. While the filter works it holds one frame back.

    Args:
        mode: frames that count as interlaced: `auto` those flagged so, `always` all, `never` none.

    Attributes:
        note: a line on what was done so far; empty without interlaced frames.
    """

    def __init__(self, mode: Deinterlace = "auto") -> None:
        self.note = ""
        self._mode = mode
        self._filter: _Filter | None = None

    def feed(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a frame and yield those that are ready."""
        interlaced = self._counts_as_interlaced(frame)
        if interlaced:
            self.note = NOTES[self._mode]
        interlaced = interlaced and self._mode != "never"
        if self._filter is not None and not self._filter.takes(frame):
            yield from self.flush()
        if self._filter is None and interlaced:
            self._filter = _Filter(frame, "all" if self._mode == "always" else "interlaced")
        if self._filter is None:
            yield frame
        else:
            yield from self._filter.put(frame)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are held back; the next frame starts again."""
        if self._filter is not None:
            yield from self._filter.put(None)
        self._filter = None

    def _counts_as_interlaced(self, frame: av.VideoFrame) -> bool:
        flagged = frame.interlaced_frame or self._mode == "always"
        return flagged and min(frame.width, frame.height) >= MIN_SIDE_PX


class _Filter:
    """Runs the filter graph for frames of one size and pixel format."""

    def __init__(self, frame: av.VideoFrame, which: str) -> None:
        self._layout = _layout(frame)
        self._time_base = frame.time_base
        width, height, pixels = self._layout
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=width, height=height, format=pixels, time_base=frame.time_base
        )
        bwdif = self._graph.add("bwdif", f"mode=send_frame:deint={which}")
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
