"""One line of JSON a frame: what was found, where, and how long it took."""

import json
import math
import stat
from pathlib import Path

from qlumen.realtime.errors import SinkError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.sinks.base import Sink

TIME_DIGITS = 6
SCORE_DIGITS = 4
STAGE_DIGITS = 3


class EventsWriter(Sink):
    """JSON Lines (UTF-8), a line a frame, each written out at once: a killed process
    loses at most the line it was writing.

    A line has `frame` (0-based), `time_s`, `findings` (list of `box` [x0, y0, x1, y1] in
    px, `score`, `area_px`, `contour` [[x, y], ...] in px), `stages_ms`, and `name` where
    the source is one of single images. Figures that are not finite become null.

    A file that exists is emptied when the first frame comes, not before.

    Raises:
        SinkError: the file cannot be opened, or not written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._started = False
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def write(self, result: FrameResult) -> None:
        line = json.dumps(event(result), allow_nan=False, separators=(",", ":")) + "\n"
        try:
            self._start()
            self._append(line.encode())
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        self._file.close()

    def _start(self) -> None:
        if not self._started and stat.S_ISREG(self._path.stat().st_mode):
            self._file.truncate(0)
        self._started = True

    def _append(self, line: bytes) -> None:
        while line:  # a disk that is almost full takes a part of it first
            line = line[self._file.write(line) :]

    def _error(self, error: OSError) -> SinkError:
        return SinkError(f"events file {self._path} cannot be written: {error.strerror}")


def event(result: FrameResult) -> dict[str, object]:
    """The line's content, in plain Python types."""
    frame = result.frame
    line: dict[str, object] = {
        "frame": int(frame.index),
        "time_s": _rounded(frame.time_s, TIME_DIGITS),
    }
    if frame.name:
        line["name"] = frame.name
    line["findings"] = [_finding(finding) for finding in result.segmentation.findings]
    line["stages_ms"] = {
        stage: _rounded(ms, STAGE_DIGITS) for stage, ms in result.stages_ms.items()
    }
    return line


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "box": [int(edge) for edge in finding.box],
        "score": _rounded(finding.score, SCORE_DIGITS),
        "area_px": int(finding.area_px),
        "contour": finding.contour.tolist(),
    }


def _rounded(figure: float, digits: int) -> float | None:
    return round(float(figure), digits) if math.isfinite(figure) else None
