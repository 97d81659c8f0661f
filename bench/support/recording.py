"""Records the built-in scene for measurements."""

from pathlib import Path

import numpy as np

from qlumen.realtime.frames import FrameResult, Segmentation
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

WIDTH, HEIGHT = 1920, 1080


def record_scene(path: Path, frames: int) -> Path:
    """Encode the scene, without overlay, as a 1080p recording at 25 frames/s."""
    source = SceneSource(SceneSettings(width=WIDTH, height=HEIGHT, frame_count=frames))
    empty = Segmentation(np.zeros((HEIGHT, WIDTH), np.uint8), (), np.zeros((1, 1), np.float32))
    with Recorder(path, source.info) as recorder:
        for frame in source.frames():
            recorder.write(FrameResult(frame, empty))
    return path
