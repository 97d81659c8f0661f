"""Measures a candidate: its network alone, then in a live session on a clip."""

import io
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qlumen.calibration.candidates import Candidate
from qlumen.errors import QlumenError
from qlumen.realtime.config.rooms import Room, RoomSection
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import NO_MAP, FrameResult, Segmentation
from qlumen.realtime.latency import LatencySummary
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.rooms import Rooms
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.summary import LiveSummary
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

CLIP_SECONDS = 2
CLIP_FRAMES = 90
"""Largest number of frames; the clip repeats."""
CLIP_FROM_S = 2.0
"""Time at which the scene shows a polyp."""
SCREEN_RUNS = 7


@dataclass(frozen=True, slots=True)
class Live:
    """Holds the figures of a session, in milliseconds; None where nothing was measured.

    Attributes:
        judged: share of the frames that went through the network
        network: time of `inference` alone
        age: age of the shown findings
        raw: delay of the raw frames
    """

    frames: int
    judged: float
    network: LatencySummary | None
    age: LatencySummary | None
    raw: LatencySummary | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def write_clip(path: Path, size: tuple[int, int], fps: Fraction) -> None:
    """Write up to two seconds of the scene as H.264, so that the decoding cost is realistic."""
    count = min(CLIP_FRAMES, max(2, round(CLIP_SECONDS * fps)))
    source = SceneSource(SceneSettings(size[0], size[1], fps, count))
    nothing = Segmentation(np.zeros((size[1], size[0]), np.uint8), (), NO_MAP)
    first = round(CLIP_FROM_S * fps)
    with Recorder(path, source.info) as recorder:
        for index in range(first, first + count):
            frame = source.frame(index)
            recorder.write(FrameResult(frame, nothing))


def screen(candidate: Candidate, settings: Settings) -> float:
    """Return the median time of the network alone, in ms; raise QlumenError if it fails."""
    with closing(Segmenter.open(candidate.bundle, settings, live=True)) as segmenter:
        width, height = segmenter.engine.input_size
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        segmenter.engine.warm_up()
        spent = []
        for _ in range(SCREEN_RUNS):
            started = time.monotonic_ns()
            segmenter.engine.infer(image)
            spent.append((time.monotonic_ns() - started) / 1e6)
    return float(np.median(spent))


def run_live(
    clip: Path, settings: Settings, seconds: float, record: Path | None, sources: int = 1
) -> Live:
    """Play the clip for `seconds` as `qlumen live` does; raise QlumenError if it fails.

    Args:
        record: file for a recording, which stays there; further sources add their number.
        sources: number of times that it is played at once; the least judged one counts
    """
    console = Console(file=io.StringIO())
    if sources == 1:
        with LiveSession(str(clip), LiveOutputs(record=record), settings, console) as session:
            return _figures(session.run(seconds))
    files = [record and record.with_stem(f"{record.stem}-{n}") for n in range(sources)]
    sections = [
        RoomSection(name=f"room{n}", source=str(clip), record=file) for n, file in enumerate(files)
    ]
    with Rooms([Room(each, settings) for each in sections], console) as rooms:
        rooms.run(seconds)
    ended = [runner.summary for runner in rooms.runners if runner.summary]
    if len(ended) < sources:
        errors = [runner.error for runner in rooms.runners if runner.error]
        raise QlumenError(", ".join(errors) or "a source could not be opened")
    return min(map(_figures, ended), key=lambda live: live.judged)


def _figures(summary: LiveSummary) -> Live:
    if summary.error:
        raise QlumenError(summary.error)
    network = summary.stages_ms.get("inference")
    # The last frame may still be on its way when the time is up.
    judged = min(1.0, network.count / max(1, summary.arrived - 1)) if network else 0.0
    return Live(summary.arrived, judged, network, summary.annotation_age_ms, summary.raw_delay_ms)
