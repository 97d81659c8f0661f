"""Defines the records of the video path, which every stage may import.

Images are `(H, W, 3) uint8` BGR, masks `(H, W) uint8` of 0 and 1. Boxes are `x0, y0, x1, y1`
in pixels and half open. Times named `_ns` are monotonic nanoseconds; `time_s` is the position
in the recording in seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.base import Pixels

NO_MAP = np.zeros((0, 0), np.float32)
"""`Segmentation.probability` where no network made one."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Holds one image of a video with its time, or one still image.

    Attributes:
        index: position among the delivered frames, from 0.
        pts: presentation timestamp of the source, in units of `time_base`.
        time_base: seconds per unit of `pts`.
        pixels: the image; stages share it.
        grabbed_ns: monotonic time at which the image was complete in memory.
        name: file of a single image; empty in a video.
        truth: `(H, W) uint8`, 1 on polyps, where the source knows it (the scene).
        held_ns: time before `grabbed_ns` for which the source is known to have had the image, such
            as that of decoding and of frames that must come first.
    """

    index: int
    pts: int
    time_base: Fraction
    pixels: Pixels
    grabbed_ns: int
    name: str = ""
    truth: Mask | None = None
    held_ns: int = 0

    @property
    def image(self) -> Image:
        """Return `pixels.bgr()`: `(H, W, 3) uint8` BGR, read-only."""
        return self.pixels.bgr()

    @property
    def time_s(self) -> float:
        return float(self.pts * self.time_base)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.pixels.size


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """Describes one lesion in one frame.

    Attributes:
        box: `x0, y0, x1, y1` in pixels of the frame, half open, tight around the mask.
        score: mean probability over the finding's pixels, 0 to 1.
        area_px: number of pixels of the finding, with filled holes.
        contour: `(N, 2) int32`, x and y of the pixels of the outer border, clockwise on screen,
            without points inside straight runs; the filled contour is the mask.
        label: text to show beside it, by an analysis step of another package.
    """

    box: Box
    score: float
    area_px: int
    contour: NDArray[np.int32]
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Holds the findings of one frame.

    Attributes:
        mask: `(H, W) uint8` at the frame's size, 1 on findings.
        findings: findings by size, the largest first.
        probability: `(h, w) float32` at the network's size, 0 to 1, or `NO_MAP`.
        others: areas of other classes, such as instruments, each with its class as the label.
            They are drawn, and are no findings.
    """

    mask: Mask
    findings: tuple[Finding, ...]
    probability: NDArray[np.float32]
    others: tuple[Finding, ...] = ()


class Condition(StrEnum):
    """Says whether a frame can be judged, and if not, why."""

    CLEAR = "clear"
    BLURRED = "blurred"
    RED_OUT = "red_out"
    OVEREXPOSED = "overexposed"
    UNDEREXPOSED = "underexposed"
    OUT_OF_BODY = "out_of_body"

    @property
    def label(self) -> str:
        """Return the words that people see, the same on video, pages and reports."""
        return LABELS.get(self, str(self))


LABELS = {
    Condition.RED_OUT: "red-out",
    Condition.OVEREXPOSED: "too bright",
    Condition.UNDEREXPOSED: "too dark",
    Condition.OUT_OF_BODY: "out of body",
}


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Describes one lesion over time, as of the frame it was last seen in.

    Attributes:
        number: number from 1 in the order of appearance. Only a lesion that comes back to its
            place within `remember_s` has its number again.
        finding: last finding of the lesion.
        since_s: `time_s` of the frame in which it was first seen.
        alarm: True if it has lasted for the alarm hold, so it is shown.
        new: True if its alarm began with this frame.
        seen: True if it was found in this frame; else its last finding was moved along.
    """

    number: int
    finding: Finding
    since_s: float
    alarm: bool
    new: bool
    seen: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Describes the part of a frame that shows the endoscope's view.

    Attributes:
        box: box around the field, in pixels of the frame, half open; its bounds are even, or
            the bounds of the frame.
        mask: `(H, W) uint8` of the whole frame, 1 inside, without holes; None: the whole box.
    """

    box: Box
    mask: Mask | None


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Describes a frame before the network judges it.

    Attributes:
        size: width and height of the frame in pixels.
        condition: condition as of this frame.
        judged: True if the network judges the frame.
        flow: motion from the last observed frame, `(h, w, 2) float32`; None where nothing is
            carried over from that frame.
        elapsed_s: seconds since that frame; 0 where nothing is carried over.
        thumbnail: the frame as a small grey image; None in a stored review.
    """

    size: tuple[int, int]
    time_s: float
    field: Field
    condition: Condition
    judged: bool
    flow: NDArray[np.float32] | None = None
    elapsed_s: float = 0.0
    thumbnail: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Holds the result of the analysis of one frame.

    Attributes:
        seen: the frame before the network judges it.
        probability: `(h, w) float32` of its field, from the network; None where not judged.
        segmentation: findings to show, at the frame's size: in a video those of tracks with an
            alarm, else all.
        tracks: lesions with and without an alarm; empty where frames are not related.
    """

    seen: Observation
    probability: NDArray[np.float32] | None
    segmentation: Segmentation
    tracks: tuple[Track, ...]


class AiState(StrEnum):
    """Says what a viewer may expect of the overlay."""

    ON = "on"
    LATE = "late"
    OFF = "off"


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """Describes the state of live video at one frame.

    Attributes:
        annotated_frame: index of the frame on which the findings were made; None without.
        annotation_age_ms: time from the grab of that frame to the display of this one, or None.
        tracks: lesions at the annotated frame, with and without alarm.
        recording: True while a recording is written.
        signal: False while the source delivers no frame; the last frame is then shown.
        overlay: False while the findings are hidden on request.
        held_ms: `Frame.held_ns` of the frame on display, in milliseconds.
    """

    ai: AiState
    annotated_frame: int | None
    annotation_age_ms: float | None
    condition: Condition
    tracks: tuple[Track, ...]
    recording: bool
    signal: bool
    overlay: bool = True
    held_ms: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FrameRecord:
    """Holds what is written to a file about a frame: everything except its pixels.

    Attributes:
        size: width and height of the frame in pixels.
        findings: findings by size, the largest first.
        stages_ms, live: see `FrameResult`.
        condition: condition of the frame on which the findings were made; None: not known.
        tracks: lesions at that frame.
    """

    index: int
    pts: int
    time_base: Fraction
    size: tuple[int, int]
    findings: tuple[Finding, ...]
    grabbed_ns: int = 0
    name: str = ""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    live: LiveState | None = None
    condition: Condition | None = None
    tracks: tuple[Track, ...] = ()

    @property
    def time_s(self) -> float:
        return float(self.pts * self.time_base)

    def record(self) -> "FrameRecord":
        return self


class Recordable(Protocol):
    """Describes a frame's result, with or without pixels: `FrameResult` or `FrameRecord`."""

    def record(self) -> FrameRecord:
        """Return the result without pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Holds what sinks receive for each frame.

    Attributes:
        annotated: the frame with the overlay; None when no sink asked for it.
        stages_ms: milliseconds that each stage spent on this frame.
        judgement: result of this frame; None on live video, where frames may be left out.
        live: state of live video only; `segmentation` is then the newest one, moved to this
            frame.
    """

    frame: Frame
    segmentation: Segmentation
    annotated: Pixels | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    live: LiveState | None = None
    judgement: Judgement | None = None

    @property
    def shown(self) -> Image:
        """Return `(H, W, 3) uint8` BGR, read-only, with the overlay if a sink asked for it."""
        return self.frame.image if self.annotated is None else self.annotated.bgr()

    def record(self) -> FrameRecord:
        frame = self.frame
        return FrameRecord(
            frame.index,
            frame.pts,
            frame.time_base,
            frame.size,
            self.segmentation.findings,
            frame.grabbed_ns,
            frame.name,
            self.stages_ms,
            self.live,
            *self._follow(),
        )

    def _follow(self) -> tuple[Condition | None, tuple[Track, ...]]:
        if self.live is not None:
            return self.live.condition, self.live.tracks
        if self.judgement is not None:
            return self.judgement.seen.condition, self.judgement.tracks
        return None, ()
