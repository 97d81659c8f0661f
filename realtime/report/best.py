"""The best frame of each lesion, as pictures."""

from pathlib import Path

from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.images import PngFolder

Best = dict[int, list[tuple[int, Finding]]]
"""By place in the review: the lesions whose best frame it is."""


def best_frames(findings: Findings) -> Best:
    """Of all lesions."""
    found: Best = {}
    for track in findings.tracks:
        found.setdefault(track.best.place, []).append((track.number, track.best.finding))
    return found


class BestFrames(Sink):
    """A PNG file of each lesion's best frame with the overlay: `lesion_01_frame_000155.png`."""

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
