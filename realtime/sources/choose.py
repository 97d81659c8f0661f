"""Opens the source that the user named."""

import urllib.request
from fractions import Fraction
from functools import partial
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.config.source import SceneSection
from qlumen.realtime.pixels import planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.base import LiveSource, Source
from qlumen.realtime.sources.ffmpeg.addresses import WEB_SCHEMES, address, is_live, scheme
from qlumen.realtime.sources.pages import PagesSource, is_for_pages
from qlumen.realtime.sources.pattern import PatternSource
from qlumen.realtime.sources.playback import PacedSource
from qlumen.system.plugins import SOURCES, find_plugin, load_plugin

SCENE = "scene"
PATTERN = "pattern"
MAX_RATE_DENOMINATOR = 1001
"""Large enough to find 30000/1001 for 29.97."""


def open_source(location: str, settings: Settings, pool: FramePool | None = None) -> Source:
    """Open `scene`, a folder of images, or anything FFmpeg reads: file, URL, device.

    A location whose scheme belongs to an installed plugin is opened by it.

    Args:
        pool: pool for the frames that FFmpeg reads; see `ContainerSource`.

    Raises:
        UsageError: the name is empty.
        SourceError: the source does not exist, or has no frame.
    """
    _check_named(location)
    if location == SCENE:
        return _scene(settings.scene, settings.scene.frames)
    if point := find_plugin(SOURCES, location):
        return load_plugin(point)(location, settings)
    if Path(location).is_dir():
        from qlumen.realtime.sources.images import FolderSource

        rate = _rate(settings.source.fps)
        return FolderSource(location, sequence=settings.source.sequence, fps=rate)
    if is_for_pages(Path(location)):
        rate = _rate(settings.source.fps)
        return PagesSource(Path(location), sequence=settings.source.sequence, fps=rate)
    from qlumen.realtime.sources.ffmpeg.container import ContainerSource

    chosen = settings.source
    return ContainerSource(
        location,
        hardware=chosen.hardware,
        threads=chosen.threads,
        stream=chosen.stream,
        deinterlace=chosen.deinterlace,
        pool=pool,
    )


def open_live_source(location: str, settings: Settings) -> LiveSource:
    """Open a camera, a stream, or a source that is played at its own rate.

    `scene`, `pattern`, a folder's sequence of images and video files are played. With
    `source.loop` a file, a folder and the scene have no end. Cameras and streams, as
    `addresses.Address` names them, are received live, as are URLs of the web without an end.

    Raises:
        UsageError: the name is empty, or the images of a folder or a stack are no sequence.
        ConfigError: settings that the source cannot have.
        SourceError: the source does not exist, does not answer, or has no frame.
    """
    _check_named(location)
    if location == SCENE:
        frames = None if settings.source.loop else settings.scene.frames
        return PacedSource(partial(_scene, settings.scene, frames))
    if location == PATTERN:
        chosen = settings.pattern
        return PacedSource(partial(PatternSource, chosen.width, chosen.height, _rate(chosen.fps)))
    if point := find_plugin(SOURCES, location):
        opened = load_plugin(point)(location, settings)
        if isinstance(opened, LiveSource):
            return opened
        opened.close()
    path = Path(location)
    if not path.is_dir() and not path.is_file():
        if not point and is_live(location):
            from qlumen.realtime.sources.network.source import ReceivedSource

            return ReceivedSource(location, settings.source, settings.reconnect)
        is_web = not point and scheme(location) in WEB_SCHEMES
        if is_web and (camera := _open_web_camera(location, settings)):
            return camera
    reopen = partial(open_source, location, settings, FramePool())
    played = PacedSource(reopen, loop=settings.source.loop)
    if not played.info.sequence:
        played.close()
        raise UsageError(
            f"{played.info.name} holds single images; if they follow each other in time, "
            "set source.sequence=true"
        )
    return played


def input_files(location: str, bundle: Path | None) -> list[Path]:
    """Return the files and folders that a replay reads, which no output may touch."""
    paths = [bundle] if bundle else []
    if location.startswith("file://"):
        paths.append(Path(urllib.request.url2pathname(location.removeprefix("file://"))))
    elif location != SCENE and "://" not in location:
        paths.append(Path(location))
    return paths


def _open_web_camera(location: str, settings: Settings) -> LiveSource | None:
    """Open a URL of the web as a live source; None if it is a file or a playlist."""
    from qlumen.realtime.sources.ffmpeg.opening import is_endless, open_address
    from qlumen.realtime.sources.network.source import ReceivedSource

    source, reconnect = settings.source, settings.reconnect
    planes.warm_up()  # before the camera sends, as in `ReceivedSource`
    container = open_address(
        address(location, source), source.hardware, reconnect.open_s, reconnect.stall_s
    )
    if is_endless(container):
        # Some cameras serve one client only, so it is not opened a second time.
        return ReceivedSource(location, source, reconnect, container)
    container.close()
    return None


def _check_named(location: str) -> None:
    if not location:
        raise UsageError("the source's name is empty; give a file, a folder, a URL or scene")


def _scene(section: SceneSection, frames: int | None) -> Source:
    from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

    return SceneSource(
        SceneSettings(
            width=section.width,
            height=section.height,
            fps=_rate(section.fps),
            frame_count=frames,
            seed=section.seed,
            polyps=section.polyps,
            obstacles=section.obstacles,
        )
    )


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(MAX_RATE_DENOMINATOR)
