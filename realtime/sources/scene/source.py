"""Delivers a synthetic colonoscopy with the true mask of every frame."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from qlumen.errors import ConfigError
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.realtime.sources.scene.obstacles import Obstacles
from qlumen.realtime.sources.scene.render import Renderer
from qlumen.realtime.sources.scene.world import make_world


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """Describes the scene.

    Attributes:
        frame_count: number of frames; None for no end.
        seed: number that chooses the colon and the examination.
        polyps: False for the same colon and examination without any polyp.
        obstacles: True for the same with things in the way: stool, foam, washes, instruments, a
            cap, and changes of light.
    """

    width: int = 1280
    height: int = 720
    fps: Fraction = Fraction(25)
    frame_count: int | None = 250
    seed: int = 0
    polyps: bool = True
    obstacles: bool = False


class SceneSource(Source):
    """Renders each frame from the settings and its index alone.

    Any thread may ask for frames in any order. They are the same to the byte on one machine.

    Raises:
        ConfigError: a size or length below 1, a rate of 0 or less, a negative seed.
    """

    def __init__(self, settings: SceneSettings | None = None) -> None:
        self.settings = settings = settings or SceneSettings()
        _check(settings)
        self.info = SourceInfo(
            "scene", settings.width, settings.height, settings.fps, settings.frame_count
        )
        self.drops: Counter[str] = Counter()
        world = make_world(settings.seed)
        obstacles = Obstacles(settings.seed, world.tube) if settings.obstacles else None
        self._renderer = Renderer(
            world, settings.width, settings.height, settings.polyps, obstacles
        )
        self.frame(0)  # compiles the kernels at the first use, so that no frame is late

    def frames(self) -> Iterator[Frame]:
        index = 0
        while index != self.settings.frame_count:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> Frame:
        """Render frame `index`, from 0; it may be above `frame_count`."""
        image, truth = self._renderer.render(float(index / self.settings.fps), index)
        image.flags.writeable = False
        truth.flags.writeable = False
        return Frame(
            index, index, 1 / self.settings.fps, BgrImage(image), time.monotonic_ns(), truth=truth
        )

    def labels(self, index: int) -> Mask:
        """Return which polyp is visible where in frame `index`.

        This takes about as long as the frame.

        Returns:
            `(H, W) uint8`: 0 for none, else the number of the polyp, from 1 in the order along
            the colon. It is above 0 exactly where the frame's `truth` is 1.
        """
        return self._renderer.render_labels(float(index / self.settings.fps))


def _check(settings: SceneSettings) -> None:
    for name, value in (("width", settings.width), ("height", settings.height)):
        if value < 1:
            raise ConfigError(f"scene {name} is {value} px; give 1 or more")
    if settings.fps <= 0:
        raise ConfigError(f"scene rate is {settings.fps} frames/s; give more than 0")
    if settings.frame_count is not None and settings.frame_count < 1:
        raise ConfigError(f"scene has {settings.frame_count} frames; give 1 or more, or None")
    if settings.seed < 0:
        raise ConfigError(f"scene seed is {settings.seed}; give 0 or more")
