"""Holds what was found in one image or frame, and draws and converts it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.analysis.interpret import spread_map
from qlumen.realtime.frames import Condition, Finding, Frame, Judgement, Segmentation, Track
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.segmentation.geometry import Fit
from qlumen.realtime.tracking.findings import fill_findings

if TYPE_CHECKING:
    import supervision

POLYP = 1
"""Number of the one class, in COCO and elsewhere."""


@dataclass(frozen=True, eq=False)
class Result:
    """Holds what was found in one image, or in one frame of a video.

    Attributes:
        findings: lesions, the largest first; in a video those with an alarm.
        mask: `(H, W) uint8`, 1 on the findings.
        tracks: lesions over time, with and without an alarm; () for single images.
        condition: whether the frame can be judged, and if not, why; single images are judged.
        index: number of the frame, from 0.
        time_s: time of the frame in seconds; in live video since the first frame.
        name: file of the image, in a folder of images.
    """

    findings: tuple[Finding, ...]
    mask: Mask
    tracks: tuple[Track, ...] = ()
    condition: Condition = Condition.CLEAR
    index: int = 0
    time_s: float = 0.0
    name: str = ""
    _pixels: Pixels | None = field(default=None, repr=False)
    _judgement: Judgement | None = field(default=None, repr=False)
    _fit: Fit = field(default="stretch", repr=False)

    @classmethod
    def of(cls, frame: Frame, judgement: Judgement, fit: Fit) -> "Result":
        """Make a result of a frame and its judgement."""
        shown, seen = judgement.segmentation, judgement.seen
        return cls(
            shown.findings,
            shown.mask,
            judgement.tracks,
            seen.condition,
            frame.index,
            frame.time_s,
            frame.name,
            frame.pixels,
            judgement,
            fit,
        )

    @property
    def image(self) -> Image:
        """Return the image: `(H, W, 3) uint8` BGR, read-only."""
        assert self._pixels is not None
        return self._pixels.bgr()

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        height, width = self.mask.shape
        return width, height

    @cached_property
    def probability(self) -> NDArray[np.float32] | None:
        """Return the network's map, interpolated to the image: `(H, W) float32`, 0 to 1.

        It is 0 outside the endoscope's field. None for frames that were not judged, and in live
        video, where findings may come from a frame before.
        """
        judged = self._judgement
        if judged is None or judged.probability is None:
            return None
        return spread_map(judged.probability, judged.seen, self._fit)

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """Return arrays with a row for each finding.

        `boxes` `(n, 4) int64`: x0, y0, x1, y1 in pixels, half open. `scores` `(n,) float64`: mean
        probability. `masks` `(n, H, W) bool`. `tracks` `(n,) int64`: number of the lesion, 0 for
        single images.
        """
        masks = [fill_findings([one], self.size) for one in self.findings]
        return {
            "boxes": np.array([one.box for one in self.findings], np.int64).reshape(-1, 4),
            "scores": np.array([one.score for one in self.findings], np.float64),
            "masks": np.array(masks, bool).reshape(-1, *self.mask.shape),
            "tracks": np.array([self._number(one) for one in self.findings], np.int64),
        }

    def to_coco(self, image_id: int = 0, first_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO annotations of plain JSON types, with masks as run lengths.

        Args:
            image_id: `image_id` of each annotation.
            first_id: `id` of the first annotation; the others follow.
        """
        from qlumen.realtime.report.tables import annotation

        return [
            annotation(one, self.size, number, image_id, self._number(one) or None)
            for number, one in enumerate(self.findings, first_id)
        ]

    def to_supervision(self) -> "supervision.Detections":
        """Return Detections of the library supervision, which must be installed."""
        import supervision

        arrays = self.to_numpy()
        return supervision.Detections(
            xyxy=arrays["boxes"].astype(np.float32),
            mask=arrays["masks"],
            confidence=arrays["scores"].astype(np.float32),
            class_id=np.full(len(self.findings), POLYP),
            tracker_id=arrays["tracks"] if self.tracks else None,
            data={"class_name": np.array(["polyp"] * len(self.findings))},
        )

    def _number(self, finding: Finding) -> int:
        return next((one.number for one in self.tracks if one.finding is finding), 0)


def draw(result: Result) -> Image:
    """Draw the outlines of the findings on the result's image: a new `(H, W, 3) uint8` BGR."""
    image = result.image.copy()
    nothing = np.zeros((0, 0), np.float32)
    Overlay().draw(image, Segmentation(result.mask, result.findings, nothing))
    return image
