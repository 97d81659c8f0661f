"""Limits what a recording may use of this machine."""

from collections.abc import Iterator
from dataclasses import dataclass

from qlumen.errors import RefusedError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.base import Source

MIB = 1 << 20
SECONDS_PER_MINUTE = 60
PIXELS_PER_MEGAPIXEL = 1_000_000
MAX_FPS = 240
"""With the longest time, limits the number of frames, whatever the time stamps say."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Holds the limits of a recording.

    Attributes:
        max_bytes: largest size of the file.
        max_s: longest video in seconds.
        max_pixels: most pixels of an image.
        memory_bytes, cpu_s, stall_s: limits of the process that reads, see `ReviewSettings`.
        subject, advice: words of the messages about the process.
    """

    max_bytes: int
    max_s: float
    max_pixels: int
    memory_bytes: int
    cpu_s: int
    stall_s: float
    subject: str = "the recording"
    advice: str = "cut it, or raise review.cpu_s"

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        view, review = settings.view, settings.review
        return cls(
            view.upload_mib * MIB,
            view.upload_minutes * SECONDS_PER_MINUTE,
            round(view.upload_megapixels * PIXELS_PER_MEGAPIXEL),
            review.memory_mib * MIB,
            review.cpu_s,
            review.stall_s,
        )

    def check_bytes(self, size: int) -> None:
        """Raise RefusedError for a file that is too large."""
        if size > self.max_bytes:
            raise RefusedError(
                f"the file has {size / MIB:.0f} MiB, the limit is {self.max_bytes / MIB:.0f} MiB; "
                "cut it, or raise view.upload_mib"
            )

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise RefusedError for images of (width, height) that are too large."""
        if size[0] * size[1] > self.max_pixels:
            raise RefusedError(
                f"images of {size[0]}x{size[1]} px are too large, the limit is {self.max_pixels} "
                "px; scale them down, or raise view.upload_megapixels"
            )

    def check_length(self, seconds: float, frames: int = 0) -> None:
        """Raise RefusedError for a video that is too long."""
        if seconds > self.max_s or frames > self.max_s * MAX_FPS:
            raise RefusedError(
                f"the video is longer than {self.max_s:g} s; cut it, or raise view.upload_minutes"
            )


class BoundedSource(Source):
    """Passes on a source's frames, but raises RefusedError if they exceed the limits."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self.info, self.drops = source.info, source.drops
        limits.check_size((self.info.width or 1, self.info.height or 1))

    def frames(self) -> Iterator[Frame]:
        first_s: float | None = None
        for frame in self._source.frames():
            self.info = self._source.info
            first_s = frame.time_s if first_s is None else first_s
            self._limits.check_size(frame.size)
            if self.info.sequence:
                self._limits.check_length(frame.time_s - first_s, frame.index)
            yield frame
        self.info = self._source.info

    def close(self) -> None:
        self._source.close()
