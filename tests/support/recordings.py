"""Makes recordings of many kinds for the tests, and reads their frames."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import make_images, write_video

COUNT = 60
NO_REORDERING = {"bf": "0"}
CONTAINERS = [
    ("a.mp4", "libx264"),
    ("a.mkv", "libx264"),
    ("a.avi", "mpeg4"),
    ("a.avi", "mjpeg"),
    ("a.mpg", "mpeg2video"),
    ("a.ts", "libx264"),
    ("a.webm", "libvpx"),
    ("a.flv", "flv"),
    ("a.wmv", "wmv2"),
]


def video(path: Path, codec: str = "libx264", **settings: Any) -> Path:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    settings = {"pixels": pixels, "options": {"b": "2M"}, **settings}
    return write_video(path, make_images(COUNT), codec=codec, **settings)


def frames_of(path: Path, **options: Any) -> list[Frame]:
    with ContainerSource(str(path), **options) as source:
        return list(source.frames())


def seconds_of(frames: Sequence[Frame]) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in frames]


def is_increasing(seconds: Sequence[Fraction]) -> bool:
    return all(later > earlier for earlier, later in pairwise(seconds))
