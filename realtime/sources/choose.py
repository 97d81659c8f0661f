"""From what the user typed to a source."""

import urllib.request
from fractions import Fraction
from pathlib import Path

from qlumen.realtime.config import SceneSection, Settings
from qlumen.realtime.errors import UsageError
from qlumen.realtime.sources.base import Source

SCENE = "scene"
MAX_RATE_DENOMINATOR = 1001
"""Enough to find 30000/1001 behind 29.97."""


def open_source(location: str, settings: Settings) -> Source:
    """Open `scene`, a folder of images, or anything FFmpeg reads: file, URL, device.

    Raises:
        UsageError: the name is empty.
        SourceError: it does not exist, or holds no picture.
    """
    if not location:
        raise UsageError("the source's name is empty; give a file, a folder, a URL or scene")
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


def input_files(location: str, bundle: Path | None) -> list[Path]:
    """The files and folders that a replay reads, which no output may touch."""
    paths = [bundle] if bundle else []
    if location.startswith("file://"):
        paths.append(Path(urllib.request.url2pathname(location.removeprefix("file://"))))
    elif location != SCENE and "://" not in location:
        paths.append(Path(location))
    return paths


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
