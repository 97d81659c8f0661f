"""From what the user typed to a source."""

import re
from fractions import Fraction
from pathlib import Path

from qlumen.realtime.config import SceneSection, Settings
from qlumen.realtime.sources.base import Source

SCENE = "scene"
MAX_RATE_DENOMINATOR = 1001
"""Enough to find 30000/1001 behind 29.97."""


def open_source(location: str, settings: Settings) -> Source:
    """Open `scene`, a folder of images, or anything FFmpeg reads: file, URL, device.

    Raises:
        SourceError: it does not exist, or holds no picture.
    """
    if location == SCENE:
        return _scene(settings.scene)
    if Path(location).is_dir():
        from qlumen.realtime.sources.folder import FolderSource

        rate = _rate(settings.source.fps)
        return FolderSource(location, sequence=settings.source.sequence, fps=rate)
    from qlumen.realtime.sources.container import ContainerSource

    return ContainerSource(
        location, hardware=settings.source.hardware, threads=settings.source.threads
    )


def is_local_file(location: str) -> bool:
    """Whether `location` names something in the file system rather than a URL or the scene."""
    return location != SCENE and not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", location)


def _scene(section: SceneSection) -> Source:
    from qlumen.realtime.sources.scene import SceneSettings, SceneSource

    return SceneSource(
        SceneSettings(
            width=section.width,
            height=section.height,
            fps=_rate(section.fps),
            frame_count=section.frames,
            seed=section.seed,
            polyps=section.polyps,
        )
    )


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(MAX_RATE_DENOMINATOR)
