"""Keeps a small image of each lesion that was shown, at its best score."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace

import cv2

from qlumen.realtime.frames import FrameResult, Track
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.jpeg import jpeg_bytes

SIDE_PX = 128
MARGIN = 0.25
"""Margin around the finding's box, as a share of its longer side."""
MAX_SHOWN = 50
BETWEEN_S = 0.5
JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """Holds a track's small image.

    Attributes:
        since_s, last_s: `time_s` of the track's first and newest frame.
        score: best score until now.
        version: number that rises when `jpeg` is replaced.
    """

    number: int
    since_s: float
    last_s: float
    score: float
    version: int
    jpeg: bytes
    taken_ns: int


class Gallery:
    """Collects the `MAX_SHOWN` newest tracks in the sink's thread for other threads.

    An image is cut where the lesion was at the annotated frame. That frame is older than the
    shown one by the annotation's age, so the cut has a margin.
    """

    def __init__(self) -> None:
        self._shown: OrderedDict[int, Thumbnail] = OrderedDict()
        self._lock = threading.Lock()
        self._pixel_aspect = 1.0

    def begin(self, pixel_aspect: float = 1.0) -> None:
        """Forget all tracks, for a new session whose pixels have this width over height."""
        self._pixel_aspect = pixel_aspect
        with self._lock:
            self._shown = OrderedDict()

    def __call__(self, result: FrameResult) -> None:
        live = result.live
        if live is None or not live.signal:
            return
        for track in live.tracks:
            if track.alarm:
                self._take(track, result)

    def thumbnails(self) -> list[Thumbnail]:
        """Return the thumbnails, newest track first."""
        with self._lock:
            return list(reversed(self._shown.values()))

    def jpeg(self, number: int) -> bytes | None:
        """Return the JPEG of a track, or None if the track is not known."""
        with self._lock:
            shown = self._shown.get(number)
        return shown.jpeg if shown else None

    def _take(self, track: Track, result: FrameResult) -> None:
        known, now_ns = self._shown.get(track.number), time.monotonic_ns()
        time_s, score = result.frame.time_s, track.finding.score
        rested = known is None or now_ns - known.taken_ns > BETWEEN_S * NS_PER_S
        if known and not (rested and score > known.score):
            new = replace(known, last_s=time_s)
        else:
            cut = _cut(result.frame.image, track.finding.box, self._pixel_aspect)
            jpeg = jpeg_bytes(cut, JPEG_QUALITY)
            version = known.version + 1 if known else 1
            new = Thumbnail(track.number, track.since_s, time_s, score, version, jpeg, now_ns)
        with self._lock:
            self._shown[track.number] = new
            while len(self._shown) > MAX_SHOWN:
                self._shown.popitem(last=False)


def _cut(image: Image, box: Box, pixel_aspect: float) -> Image:
    """Cut a square of pixels around the box, within the image, `SIDE_PX` at its longer side."""
    x0, y0, x1, y1 = box
    half = max(1, round(max(x1 - x0, y1 - y0) * (0.5 + MARGIN)))
    x, y = (x0 + x1) // 2, (y0 + y1) // 2
    cut = image[max(0, y - half) : y + half, max(0, x - half) : x + half]
    height, width = cut.shape[:2]
    stretched = width * pixel_aspect
    scale = SIDE_PX / max(height, stretched)
    size = max(1, round(stretched * scale)), max(1, round(height * scale))
    return cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
