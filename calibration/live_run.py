"""Measuring a candidate: its network alone, then in a live session on a clip."""

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
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import NO_MAP, FrameResult, Segmentation
from qlumen.realtime.latency import LatencySummary
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

CLIP_SECONDS = 2
CLIP_FRAMES = 90
"""At most; the clip is played again and again."""
CLIP_FROM_S = 2.0
"""There the scene shows a polyp."""
SCREEN_RUNS = 7


@dataclass(frozen=True, slots=True)
class Live:
    """Of a session, milliseconds; None where nothing came to be measured.

    Attributes:
        judged: share of the frames that went through the network.
        network: of `inference` alone. age: of the findings shown. raw: of the picture's own way.
    """

    frames: int
    judged: float
    network: LatencySummary | None
    age: LatencySummary | None
    raw: LatencySummary | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def write_clip(path: Path, size: tuple[int, int], fps: Fraction) -> None:
    """Up to two seconds of the scene as H.264, so that decoding costs what it costs in the room."""
    count = min(CLIP_FRAMES, max(2, round(CLIP_SECONDS * fps)))
    source = SceneSource(SceneSettings(size[0], size[1], fps, count))
    nothing = Segmentation(np.zeros((size[1], size[0]), np.uint8), (), NO_MAP)
    first = round(CLIP_FROM_S * fps)
    with Recorder(path, source.info) as recorder:
        for index in range(first, first + count):
            frame = source.frame(index)
            recorder.write(FrameResult(frame, nothing))


def screen(candidate: Candidate, settings: Settings) -> float:
    """Median time of the network alone, ms.

    Raises:
        QlumenError: it does not run here.
    """
    with closing(Segmenter.open(candidate.bundle, settings, live=True)) as segmenter:
        width, height = segmenter.engine.input_size
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        segmenter.engine.warm_up()
        spent = []
        for _ in range(SCREEN_RUNS):
            started = time.monotonic_ns()
            segmenter.engine.infer(picture)
            spent.append((time.monotonic_ns() - started) / 1e6)
    return float(np.median(spent))


def run_live(clip: Path, settings: Settings, seconds: float, record: Path | None) -> Live:
    """Play the clip through everything that `qlumen live` does, for so many seconds.

    Args:
        record: where to record meanwhile; the file is left there.

    Raises:
        QlumenError: the session fails.
    """
    console = Console(file=io.StringIO())
    outputs = LiveOutputs(record=record)
    with LiveSession(str(clip), outputs, settings, console) as session:
        summary = session.run(seconds)
    if summary.error:
        raise QlumenError(summary.error)
    network = summary.stages_ms.get("inference")
    # The last frame may still be on its way when the time is up.
    judged = min(1.0, network.count / max(1, summary.arrived - 1)) if network else 0.0
    return Live(summary.arrived, judged, network, summary.annotation_age_ms, summary.raw_delay_ms)
