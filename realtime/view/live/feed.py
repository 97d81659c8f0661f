"""The live picture for browsers: one JPEG a frame for all, the newest only for each.

A viewer says when it has drawn a picture. It is sent the newest one then and never has more
than a few on their way, so nothing piles up: not here, not in the network, not in the
browser. A slow viewer misses pictures and holds up nobody.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2

from qlumen.errors import SinkError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import NS_PER_MS
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.sinks.base import Sink


@dataclass(frozen=True, slots=True, eq=False)
class PageImage:
    """A picture for browsers.

    Attributes:
        number: rises by 1 from picture to picture of a feed, also from session to session.
        frame: index of the frame. grabbed_ns: of the frame.
    """

    number: int
    frame: int
    grabbed_ns: int
    jpeg: bytes


class Viewer:
    """One browser's place at a feed.

    Args:
        wake: called from another thread when there may be something to take; must not wait.
    """

    def __init__(self, feed: "Feed", wake: Callable[[], None]) -> None:
        self._feed, self.wake = feed, wake
        self._sent: deque[PageImage] = deque()
        self._last = 0
        self.delay_ms: float | None = None

    @property
    def ready(self) -> bool:
        return len(self._sent) < self._feed.in_flight

    def take(self) -> PageImage | None:
        """The newest picture, unless it was taken already or too many are on their way."""
        picture = self._feed.newest
        if picture is None or picture.number <= self._last or not self.ready:
            return None
        self._last = picture.number
        self._sent.append(picture)
        return picture

    def drew(self, number: int) -> None:
        """The browser says that it has drawn this picture, so those before it are over, too.
        `delay_ms` is then the time from the grab until that word arrived."""
        while self._sent and self._sent[0].number <= number:
            picture = self._sent.popleft()
            self.delay_ms = (time.monotonic_ns() - picture.grabbed_ns) / NS_PER_MS

    def leave(self) -> None:
        self._feed.remove(self)


class Feed:
    """Where one sink leaves pictures and any number of viewers find them.

    It outlives sessions: viewers stay while another source is chosen.

    Args:
        viewers: at most so many at once.

    Attributes:
        in_flight: pictures that may be sent to a viewer and not yet drawn.
        newest: the picture of the newest frame; None while nobody has asked for that.
        published: pictures so far.
    """

    def __init__(self, *, viewers: int, in_flight: int) -> None:
        self._limit, self.in_flight = viewers, in_flight
        self._viewers: tuple[Viewer, ...] = ()
        self._lock = threading.Lock()
        self.published = 0
        self.newest: PageImage | None = None

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @property
    def wanted(self) -> bool:
        """Whether a picture would be sent to anybody now."""
        return any(viewer.ready for viewer in self._viewers)

    def join(self, wake: Callable[[], None]) -> Viewer:
        """Raises SinkError: too many watch already."""
        viewer = Viewer(self, wake)
        with self._lock:
            if len(self._viewers) >= self._limit:
                raise SinkError(f"{self._limit} browsers watch already; view.viewers allows more")
            self._viewers = (*self._viewers, viewer)
        return viewer

    def remove(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers = tuple(other for other in self._viewers if other is not viewer)

    def publish(self, frame: int, grabbed_ns: int, jpeg: bytes) -> None:
        """Replace the newest picture and wake who waits for one; by one thread at a time."""
        self.published += 1
        self.newest = PageImage(self.published, frame, grabbed_ns, jpeg)
        for viewer in self._viewers:
            if viewer.ready:
                viewer.wake()


class WebSink(Sink):
    """Encodes pictures for a feed while somebody is ready for one.

    Args:
        width_px: wider pictures are made as small.
        jpeg_quality: 1 to 100.
        also: called with every frame, watched or not, before it is encoded.

    Raises:
        SinkError: a picture cannot be encoded.
    """

    wants_overlay = True

    def __init__(
        self,
        feed: Feed,
        *,
        width_px: int,
        jpeg_quality: int,
        also: Sequence[Callable[[FrameResult], None]] = (),
    ) -> None:
        self._feed, self._width_px, self._also = feed, width_px, also
        self._quality = jpeg_quality

    def write(self, result: FrameResult) -> None:
        for call in self._also:
            call(result)
        if not self._feed.wanted:
            self._feed.newest = None  # who is ready later waits for a newer one
            return
        frame = result.frame
        self._feed.publish(frame.index, frame.grabbed_ns, self._encode(result.shown))

    def _encode(self, image: Image) -> bytes:
        height, width = image.shape[:2]
        if width > self._width_px:
            size = self._width_px, max(1, round(height * self._width_px / width))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return jpeg_bytes(image, self._quality)
