"""A review as the results that a replay's sinks take, with or without its pictures."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from qlumen.errors import ReviewError
from qlumen.realtime.frames import Frame, FrameResult, Segmentation
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.recording import hashed, open_recording
from qlumen.realtime.review.records import FrameRecord
from qlumen.realtime.review.review import Review
from qlumen.realtime.tracking.motion import filled

NO_MAP = np.zeros((0, 0), np.float32)
NO_IMAGE = BgrImage(np.zeros((0, 0, 3), np.uint8))


def results(review: Review, findings: Findings) -> Iterator[FrameResult]:
    """Frames without pictures, with their findings and masks."""
    for place, record in enumerate(review.frames):
        frame = Frame(
            record.index, record.pts, Fraction(record.time_base), NO_IMAGE, 0, name=record.name
        )
        yield FrameResult(frame, _segmentation(findings, place, record))


def drawn_results(review: Review, findings: Findings) -> Iterator[FrameResult]:
    """The same with the recording's own pictures, read once more, and the overlay.

    Raises:
        ReviewError: the recording is not the one that was reviewed.
        SourceError: it cannot be read.
    """
    check_recording(review)
    overlay = Overlay(**review.settings.overlay.model_dump())
    with open_recording(review.manifest.source.location, review.settings) as source:
        for (place, record), frame in zip(enumerate(review.frames), source.frames(), strict=False):
            if frame.size != record.size or frame.pts != record.pts:
                raise ReviewError(
                    f"frame {frame.index} is not the one that was reviewed; review the "
                    "recording again"
                )
            segmentation = _segmentation(findings, place, record)
            yield FrameResult(frame, segmentation, overlay.annotate(frame.pixels, segmentation))


def check_recording(review: Review) -> None:
    """Raise ReviewError unless the recording is there, unchanged."""
    source = review.manifest.source
    if source.sha256 is None:
        return
    if not Path(source.location.removeprefix("file://")).exists():
        raise ReviewError(
            f"the recording {source.location} is gone; videos, snapshots and DICOM files need it"
        )
    if hashed(source.location)[1] != source.sha256:
        raise ReviewError(
            f"the recording {source.location} has changed since it was reviewed; review it again"
        )


def _segmentation(findings: Findings, place: int, record: FrameRecord) -> Segmentation:
    found = findings.frames[place]
    return Segmentation(filled(found, record.size), found, NO_MAP)
