"""Converts a review to records and results for sinks, and writes each lesion's best frame."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from qlumen.errors import ReviewError
from qlumen.realtime.frames import Finding, FrameRecord, FrameResult
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.recording import hash_recording, open_recording
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.images import PngFolder
from qlumen.realtime.tracking.findings import segment_findings
from qlumen.system.locations import HIDDEN, show_location

Best = dict[int, list[tuple[int, Finding]]]
"""Number and finding of the lesions, by the place of their best frame in the review."""


def records(review: Review, findings: Findings) -> Iterator[FrameRecord]:
    """Yield the review's frames with their findings."""
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


def draw_results(review: Review, findings: Findings) -> Iterator[FrameResult]:
    """Read the recording's frames again, and yield them with findings, masks and overlay.

    Raises:
        ReviewError: the recording is not the one that was reviewed.
        SourceError: the recording cannot be read.
    """
    check_recording(review)
    overlay = Overlay(**review.settings.overlay.model_dump())
    with open_recording(review.location, review.settings) as source:
        reviewed = zip(review.frames, findings.frames, strict=True)
        for (stored, found), frame in zip(reviewed, source.frames(), strict=False):
            if frame.size != stored.size or frame.pts != stored.pts:
                raise ReviewError(
                    f"frame {frame.index} is not the one that was reviewed; review the recording "
                    "again"
                )
            segmentation = segment_findings(found, stored.size)
            yield FrameResult(frame, segmentation, overlay.annotate(frame.pixels, segmentation))


def check_recording(review: Review) -> None:
    """Raise ReviewError if the recording is gone or has changed."""
    location, sha256 = review.location, review.manifest.source.sha256
    shown = show_location(location)
    if sha256 is None:
        if HIDDEN in location:
            raise ReviewError(
                f"the review does not keep the whole address {shown}; review the recording again, "
                "with all outputs"
            )
        return
    if not Path(location.removeprefix("file://")).exists():
        raise ReviewError(
            f"the recording {shown} is gone; put it back for video, snapshots and DICOM"
        )
    if hash_recording(location)[1] != sha256:
        raise ReviewError(
            f"the recording {shown} has changed since it was reviewed; review it again"
        )


def best_frames(findings: Findings) -> Best:
    """Collect the best frames of all lesions."""
    found: Best = {}
    for track in findings.tracks:
        found.setdefault(track.best.place, []).append((track.number, track.best.finding))
    return found


class BestFrames(Sink):
    """Writes each lesion's best frame with the overlay, as `lesion_01_frame_000155.png`."""

    wants_overlay = True

    def __init__(self, folder: Path, best: Best) -> None:
        self._folder, self._best, self._place = PngFolder(folder), best, -1

    def write(self, result: FrameResult) -> None:
        self._place += 1
        for number, _ in self._best.get(self._place, ()):
            name = f"lesion_{number:02d}_frame_{result.frame.index:06d}.png"
            self._folder.write(result.frame, result.shown, name)

    def close(self) -> None:
        pass
