"""Scores findings on a clip: its alarms, and hits of true boxes where some frames have them."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qlumen.errors import DatasetError
from qlumen.evaluation.detection import Hits, hits, summary
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.pixels.arrays import Box
from qlumen.realtime.sources.base import Source

Boxes = dict[int, tuple[Box, ...]]


@dataclass(frozen=True, slots=True)
class ClipScores:
    """Counts frames and frames with findings of the whole clip, and holds hits by frame index.

    Attributes:
        boxed: hits of the frames with true boxes, by index from 0
        alarms: time in seconds and box of each new alarm
    """

    frames: int
    with_findings: int
    boxed: dict[int, Hits]
    alarms: list[tuple[float, Box]]


def read_boxes(path: Path) -> Boxes:
    """Read `{"boxes": {"INDEX": [[x0, y0, x1, y1], ...]}}`; indices from 0, pixels.

    Raises:
        DatasetError: the file is missing or has another form
    """
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["boxes"]
        return {int(index): tuple(_box(row) for row in rows) for index, rows in frames.items()}
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DatasetError(
            f"{path} holds no true boxes; the form is "
            '{"boxes": {"FRAME": [[x0, y0, x1, y1], ...]}}, with frames counted from 0'
        ) from None


def evaluate_clip(
    source: Source,
    analysis: FrameAnalysis,
    boxes: Boxes,
    on_frame: Callable[[int], None] = lambda done: None,
) -> ClipScores:
    """Score the findings that a replay shows.

    Raises:
        DatasetError: boxes belong to frames that the clip does not have
    """
    frames = with_findings = 0
    boxed = {}
    alarms = []
    for frame, judgement in analysis.judge_all(source.frames()):
        segmentation = judgement.segmentation
        with_findings += bool(segmentation.findings)
        if true := boxes.get(frames):
            boxed[frames] = hits([finding.box for finding in segmentation.findings], true)
        alarms += [(frame.time_s, one.finding.box) for one in judgement.tracks if one.new]
        frames += 1
        on_frame(frames)
    if beyond := sorted(index for index in boxes if not 0 <= index < frames):
        raise DatasetError(f"boxes belong to frames {beyond}, but the clip has {frames} frames")
    return ClipScores(frames, with_findings, boxed, alarms)


def clip_report(scores: ClipScores) -> dict[str, Any]:
    """Return the content of `--json` for a clip."""
    rows = [{"frame": index, **asdict(row)} for index, row in scores.boxed.items()]
    return {
        "frames": scores.frames,
        "frames_with_findings": scores.with_findings,
        "alarms": [{"time_s": time_s, "box": box} for time_s, box in scores.alarms],
        "boxed": summary(scores.boxed.values()) if rows else None,
        "boxed_frames": rows,
    }


def _box(row: Any) -> Box:
    x0, y0, x1, y1 = (int(value) for value in row)
    return x0, y0, x1, y1
