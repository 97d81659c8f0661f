"""Records the built-in scene for measurements."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from qlumen.realtime.frames import FrameResult, Segmentation
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

WIDTH = 1920


def record_scene(
    path: Path, frames: int, width: int = WIDTH, *, fps: int = 25, seed: int = 0
) -> Path:
    """Encode the scene, without overlay; its height is 9/16 of the width."""
    height = width * 9 // 16
    source = SceneSource(SceneSettings(width, height, Fraction(fps), frames, seed))
    empty = Segmentation(np.zeros((height, width), np.uint8), (), np.zeros((1, 1), np.float32))
    with Recorder(path, source.info) as recorder:
        for frame in source.frames():
            recorder.write(FrameResult(frame, empty))
    return path
