"""Collects square crops of false findings and missed lesions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2

from qlumen.datasets.pairs import read_bgr, read_pair
from qlumen.evaluation.atlas.images import AuditImage
from qlumen.evaluation.detection import find_unpaired, iou, lesion_boxes
from qlumen.evaluation.run import still_frame
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Box, Image

CROP_PX = 64
PADDING = 0.25
"""Width added on each side, as a share of the longer side of the box."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """Holds one false finding or one missed lesion.

    Attributes:
        pixels: `(64, 64, 3) uint8` BGR
        box: the finding's or lesion's box in pixels of the image, half open
        score: score of the finding, 0 to 1; None for a lesion
        overlap: largest IoU with a box of the other kind, a true lesion or a finding
    """

    image: AuditImage
    pixels: Image
    box: Box
    score: float | None
    overlap: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Holds the errors of all images, and counts what they are errors of."""

    false_findings: list[Crop]
    missed_lesions: list[Crop]
    findings: int
    lesions: int


def collect_errors(
    images: Sequence[AuditImage],
    analysis: FrameAnalysis,
    on_image: Callable[[int], None] = lambda done: None,
) -> Errors:
    """Judge every image, and cut out what is wrong.

    Raises:
        DatasetError: a file cannot be read, or image and mask differ in size
    """

    def read_frames() -> Iterator[Frame]:
        for index, one in enumerate(images):
            if one.lesion_free:
                yield still_frame(index, read_bgr(one.pair.image), one.pair.name)
            else:
                pixels, truth = read_pair(one.pair)
                yield still_frame(index, pixels, one.pair.name, truth)

    wrong: list[Crop] = []
    missed: list[Crop] = []
    finding_count = lesion_count = 0
    for frame, judgement in analysis.judge_all(read_frames()):
        image = images[frame.index]
        findings = judgement.segmentation.findings
        found = [finding.box for finding in findings]
        true = [] if frame.truth is None else lesion_boxes(frame.truth)
        finding_count += len(found)
        lesion_count += len(true)
        alone, unseen = find_unpaired(found, true)
        for i in alone:
            pixels = cut_square(frame.image, found[i])
            wrong.append(Crop(image, pixels, found[i], findings[i].score, _best(found[i], true)))
        for i in unseen:
            pixels = cut_square(frame.image, true[i])
            missed.append(Crop(image, pixels, true[i], None, _best(true[i], found)))
        on_image(frame.index + 1)
    return Errors(wrong, missed, finding_count, lesion_count)


def cut_square(image: Image, box: Box) -> Image:
    """Cut the padded square around a box, `(64, 64, 3) uint8`, black outside the image."""
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0)
    margin = max(1, round(PADDING * side))
    frame = side + margin
    framed = cv2.copyMakeBorder(image, frame, frame, frame, frame, cv2.BORDER_CONSTANT)
    x, y = x0 + (x1 - x0 + side) // 2, y0 + (y1 - y0 + side) // 2
    square = framed[y : y + side + 2 * margin, x : x + side + 2 * margin]
    method = cv2.INTER_AREA if len(square) > CROP_PX else cv2.INTER_LINEAR
    return cv2.resize(square, (CROP_PX, CROP_PX), interpolation=method)


def _best(box: Box, others: Sequence[Box]) -> float:
    return max((iou(box, other) for other in others), default=0.0)
