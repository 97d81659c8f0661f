"""A review as what a replay's sinks take: records, or results with the recording's pixels."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from qlumen.errors import ReviewError
from qlumen.realtime.frames import FrameRecord, FrameResult
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.recording import hashed, open_recording
from qlumen.realtime.review.review import Review
from qlumen.realtime.tracking.findings import segment_findings


def records(review: Review, findings: Findings) -> Iterator[FrameRecord]:
    """The review's frames with their findings."""
    rows = zip(review.frames, findings.frames, findings.followed, strict=True)
    for stored, found, tracks in rows:
        yield FrameRecord(
            stored.index,
            stored.pts,
            Fraction(stored.time_base),
            stored.size,
            found,
            name=stored.name,
            condition=stored.condition,
            tracks=tracks,
        )


def drawn_results(review: Review, findings: Findings) -> Iterator[FrameResult]:
    """The recording's frames, read once more, with their findings, masks and the overlay.

    Raises:
        ReviewError: the recording is not the one that was reviewed.
        SourceError: it cannot be read.
    """
    check_recording(review)
    overlay = Overlay(**review.settings.overlay.model_dump())
    with open_recording(review.manifest.source.location, review.settings) as source:
        reviewed = zip(review.frames, findings.frames, strict=True)
        for (stored, found), frame in zip(reviewed, source.frames(), strict=False):
            if frame.size != stored.size or frame.pts != stored.pts:
                raise ReviewError(
                    f"frame {frame.index} is not the one that was reviewed; review the "
                    "recording again"
                )
            segmentation = segment_findings(found, stored.size)
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
