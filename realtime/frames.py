"""The vocabulary of the video path: plain frozen records that every stage may import.

Images are `(H, W, 3) uint8` BGR, masks `(H, W) uint8` of 0 and 1, boxes
`x0, y0, x1, y1` in pixels and half open. Times named `_ns` are monotonic
nanoseconds; `time_s` is the position in the recording in seconds.
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
    """One picture of a source.

    Attributes:
        index: 0-based position among the frames the source delivered.
        pts: presentation timestamp, in units of `time_base`, as the source has it.
        time_base: seconds per unit of `pts`.
        pixels: the picture itself; stages share it.
        grabbed_ns: monotonic time at which the picture was complete in memory.
        name: the file it came from, for sources of single images; else empty.
        truth: `(H, W) uint8`, 1 on polyps, where the source knows it (the scene).
    """

    index: int
    pts: int
    time_base: Fraction
    pixels: Pixels
    grabbed_ns: int
    name: str = ""
    truth: Mask | None = None

    @property
    def image(self) -> Image:
        """`pixels.bgr()`: `(H, W, 3) uint8` BGR, read-only."""
        return self.pixels.bgr()

    @property
    def time_s(self) -> float:
        return float(self.pts * self.time_base)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.size


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One lesion in one frame.

    Attributes:
        box: `x0, y0, x1, y1` in pixels of the frame, half open, tight around the mask.
        score: mean probability over the finding's pixels, 0 to 1.
        area_px: pixels of the finding, holes filled.
        contour: `(N, 2) int32`, x and y of the outer border's pixels, clockwise on
            screen, points inside straight runs left out; filling it gives the mask back.
    """

    box: Box
    score: float
    area_px: int
    contour: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What the network and the post-processing say of one frame.

    Attributes:
        mask: `(H, W) uint8` at the frame's size, 1 on findings.
        findings: largest first.
        probability: `(h, w) float32` at the network's size, 0 to 1, or `NO_MAP`.
    """

    mask: Mask
    findings: tuple[Finding, ...]
    probability: NDArray[np.float32]


class Condition(StrEnum):
    """Whether a frame can be judged, and if not, why."""

    CLEAR = "clear"
    BLURRED = "blurred"
    RED_OUT = "red_out"
    OVEREXPOSED = "overexposed"
    UNDEREXPOSED = "underexposed"
    OUT_OF_BODY = "out_of_body"


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One lesion over time, as of the frame it was last seen in.

    Attributes:
        number: from 1, in the order of appearance, never used twice in a run.
        finding: where it was last seen.
        since_s: `time_s` of the frame in which it was first seen.
        alarm: it has held for as long as the alarm hold asks, so it is shown.
        new: its alarm began with this frame.
        seen: it was found in this frame; else its last finding was moved along.
    """

    number: int
    finding: Finding
    since_s: float
    alarm: bool
    new: bool
    seen: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Where a frame shows the endoscope's view.

    Attributes:
        box: around the field, in pixels of the frame, half open; its bounds are even, or the
            frame's own.
        mask: `(H, W) uint8` of the whole frame, 1 inside, without holes; None: the whole box.
    """

    box: Box
    mask: Mask | None


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a frame shows before the network judges it.

    Attributes:
        size: width and height of the frame, pixels.
        time_s: of the frame.
        field: the endoscope's visible field in it.
        condition: whether it can be judged, as of this frame.
        judged: whether the network judges it.
        flow: the motion from the frame observed before this one, `(h, w, 2) float32`; None where
            nothing is carried over from it.
        elapsed_s: seconds since that frame; 0 where nothing is carried over.
        thumbnail: the frame as a small grey image; None where frames are not related.
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
    """What is known of one frame.

    Attributes:
        seen: what it shows before the network judges it.
        probability: `(h, w) float32` of its field, from the network; None where not judged.
        segmentation: what is shown, at the frame's size. Of frames that follow each other: the
            findings of tracks with an alarm; else all findings.
        tracks: the lesions followed, with and without an alarm; none where frames are not
            related.
    """

    seen: Observation
    probability: NDArray[np.float32] | None
    segmentation: Segmentation
    tracks: tuple[Track, ...]


class AiState(StrEnum):
    """What the room may expect of the overlay."""

    ON = "on"
    LATE = "late"
    OFF = "off"


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """What is told beside a live frame.

    Attributes:
        annotated_frame: index of the frame that the findings were made on; None without.
        annotation_age_ms: from that frame's grab to this one's display; None without.
        tracks: lesions followed at the annotated frame, with and without alarm.
        recording: whether a recording is being written.
        signal: False while the source delivers nothing; the picture is then the last one.
        overlay: False while the findings are hidden on request.
    """

    ai: AiState
    annotated_frame: int | None
    annotation_age_ms: float | None
    condition: Condition
    tracks: tuple[Track, ...]
    recording: bool
    signal: bool
    overlay: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class FrameRecord:
    """What is written down of a frame: all but its pixels, so it is small.

    Attributes:
        index, pts, time_base, grabbed_ns, name: see `Frame`.
        size: width and height of the frame in pixels.
        findings: largest first.
        stages_ms, live: see `FrameResult`.
        condition, tracks: of the frame that the findings were made on; no condition: not known.
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
    """A frame's result, with or without pixels: a `FrameResult` or a `FrameRecord`."""

    def record(self) -> FrameRecord:
        """What is written down of the frame; it holds no pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What the sinks receive, once a frame.

    Attributes:
        annotated: the frame's picture with the overlay, or None when no sink asked for it.
        stages_ms: milliseconds spent in each stage on this frame.
        judgement: of this frame itself; None on live video, where frames may be left out.
        live: set on live video only; `segmentation` is then the newest one, moved to this
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
        """`(H, W, 3) uint8` BGR, read-only: with the overlay, or without where no sink asked
        for it."""
        return self.frame.image if self.annotated is None else self.annotated.bgr()

    def record(self) -> FrameRecord:
        """What is written down of the frame; it holds no pixels."""
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
