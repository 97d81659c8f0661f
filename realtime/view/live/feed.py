"""Encodes live frames as JPEG, once for all browsers, and gives each browser the newest one.

A viewer reports when it has drawn a frame, and then gets the newest one. Only a few frames are
on their way to a viewer, so no queue grows here, in the network or in the browser. A slow viewer
misses frames and delays nobody.
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
    """Holds an encoded frame for browsers.

    Attributes:
        number: number that rises by 1 with each image of a feed, also across sessions.
        frame, grabbed_ns: index and grab time of the frame.
    """

    number: int
    frame: int
    grabbed_ns: int
    jpeg: bytes


class Viewer:
    """Represents a browser that watches a feed.

    Args:
        wake: called from another thread when there may be an image to take; must not wait.
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
        """Return the newest image, or None if it was taken or too many are on their way."""
        image = self._feed.newest
        if image is None or image.number <= self._last or not self.ready:
            return None
        self._last = image.number
        self._sent.append(image)
        return image

    def drew(self, number: int) -> None:
        """Record that the browser has drawn this image, which also completes those before it.

        `delay_ms` is then the time from the frame's grab to this call.
        """
        while self._sent and self._sent[0].number <= number:
            image = self._sent.popleft()
            self.delay_ms = (time.monotonic_ns() - image.grabbed_ns) / NS_PER_MS

    def leave(self) -> None:
        self._feed.remove(self)


class Feed:
    """Passes the images of one sink to any number of viewers.

    It outlives sessions: viewers stay while another source is chosen.

    Args:
        viewers: largest number of viewers at a time.

    Attributes:
        in_flight: number of images that may be sent to a viewer before it has drawn them.
        newest: image of the newest frame; None while nobody is ready for one.
        published: number of images until now.
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
    def is_wanted(self) -> bool:
        """Check whether a viewer is ready for an image."""
        return any(viewer.ready for viewer in self._viewers)

    def join(self, wake: Callable[[], None]) -> Viewer:
        """Add a viewer; raise SinkError if too many watch already."""
        viewer = Viewer(self, wake)
        with self._lock:
            if len(self._viewers) >= self._limit:
                raise SinkError(f"{self._limit} browsers watch already; raise view.viewers")
            self._viewers = (*self._viewers, viewer)
        return viewer

    def remove(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers = tuple(other for other in self._viewers if other is not viewer)

    def publish(self, frame: int, grabbed_ns: int, jpeg: bytes) -> None:
        """Replace the newest image and wake the viewers that are ready; in one thread at a time."""
        self.published += 1
        self.newest = PageImage(self.published, frame, grabbed_ns, jpeg)
        for viewer in self._viewers:
            if viewer.ready:
                viewer.wake()


class WebSink(Sink):
    """Encodes frames for a feed while a viewer is ready for one.

    Args:
        width_px: largest width of an image; wider frames are scaled down.
        jpeg_quality: quality from 1 to 100.
        also: functions that get every frame, watched or not, before it is encoded.

    Raises:
        SinkError: a frame cannot be encoded.
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
        if not self._feed.is_wanted:
            self._feed.newest = None  # a viewer that is ready later gets a newer one
            return
        frame = result.frame
        self._feed.publish(frame.index, frame.grabbed_ns, self._encode(result.shown))

    def _encode(self, image: Image) -> bytes:
        height, width = image.shape[:2]
        if width > self._width_px:
            size = self._width_px, max(1, round(height * self._width_px / width))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return jpeg_bytes(image, self._quality)
