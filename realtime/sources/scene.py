"""A synthetic colonoscopy with the true mask of every frame."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene import LIT_MM, march, shade
from qlumen.realtime.errors import ConfigError
from qlumen.realtime.frames import Frame, Image, Mask
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.realtime.sources.scene_world import (
    LENGTH_MM,
    Z_CELLS,
    Z_STEP_MM,
    make_world,
)

SHADED_ROWS = 360
"""Pictures taller than this are shaded smaller, by a whole factor, and enlarged: endoscopes
are not sharper, and a core has 40 ms for a frame."""
RAYS_PER_SHADED = 2
SPEED_MM_PER_S = 11.0
LIGHT = 640.0
MARGIN_PX = 2
TILE_MARGIN_PX = 64
GRAIN_SIGMA = 2.2
SOFT_PX, OUT_OF_FOCUS_PX = 0.9, 3.0
"""Blur at the shaded size, as a Gaussian's sigma."""
OUT_OF_FOCUS_ABOVE = 0.86
FIELD_PER_HEIGHT = 1.17
CORNER_PER_HEIGHT = 0.24


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """Attributes:
    width, height: pixels. fps: frames per second.
    frame_count: frames, or None for no end.
    seed: another seed, another colon and another examination.
    polyps: False for the same colon without any.
    """

    width: int = 1280
    height: int = 720
    fps: Fraction = Fraction(25)
    frame_count: int | None = 250
    seed: int = 0
    polyps: bool = True


class SceneSource(Source):
    """Renders frame i from the settings and i alone, so frames may be asked for in any order.

    Raises:
        ConfigError: a size, rate or length below 1, or a negative seed.
    """

    def __init__(self, settings: SceneSettings | None = None) -> None:
        self.settings = settings = settings or SceneSettings()
        _check(settings)
        self.info = SourceInfo(
            "scene", settings.width, settings.height, settings.fps, settings.frame_count
        )
        self.drops: Counter[str] = Counter()
        self._world = make_world(settings.seed, settings.polyps)
        self._phases = np.random.default_rng((settings.seed, 2)).uniform(0, math.tau, 16)
        self._field = visible_field(settings.width, settings.height)
        self._field_bgr = np.repeat(self._field[..., None], 3, axis=2)
        self._grain = _grain_tile(settings)
        scale = max(1, settings.height // SHADED_ROWS)
        self._shaded_shape = (-(-settings.height // scale), -(-settings.width // scale))
        self._ray_shape = tuple(-(-side // RAYS_PER_SHADED) for side in self._shaded_shape)
        self._shaded_spans = _spans(*self._shaded_shape)
        self._ray_spans = _spans(*self._ray_shape)

    def frames(self) -> Iterator[Frame]:
        index = 0
        while index != self.settings.frame_count:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> Frame:
        """Render frame `index`, from 0."""
        second = float(index / self.settings.fps)
        colour, cover = self._render(second)
        image, truth = self._finish(colour, cover, second, index)
        image.flags.writeable = False
        return Frame(index, index, 1 / self.settings.fps, image, time.monotonic_ns(), truth=truth)

    def _render(self, second: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Colour and polyp cover of the visible field, at the shaded size."""
        world, camera = self._world, self._camera(second)
        hits = np.ones((*self._ray_shape, 4), np.float32)
        march(world.radius, world.centre, Z_STEP_MM, camera, self._ray_spans, hits)
        colour = np.zeros((*self._shaded_shape, 3), np.float32)
        cover = np.zeros(self._shaded_shape, np.float32)
        shade(
            hits,
            world.wall,
            Z_STEP_MM,
            camera,
            self._near(camera),
            LIGHT * self._exposure(hits),
            self._shaded_spans,
            colour,
            cover,
        )
        return colour, cover

    def _exposure(self, hits: NDArray[np.float32]) -> float:
        """Automatic gain: brighter when the walls are far."""
        distances = hits[:, hits.shape[1] // 3 : -(hits.shape[1] // 3) or None, 3]
        near = float(np.mean(1 / (distances**2 + 60)))
        return min(1.6, max(0.35, 0.0034 / near))

    def _camera(self, second: float) -> NDArray[np.float64]:
        """Origin and axes of the camera, which looks along the centreline and sways."""
        p = self._phases
        z = 30 + SPEED_MM_PER_S * second + 4 * math.sin(0.5 * second + p[0])
        here, ahead = self._centre(z), self._centre(z + 16)
        x = here[0] + 3.5 * math.sin(0.7 * second + p[1]) + 2 * math.sin(1.9 * second + p[2])
        y = here[1] + 3.5 * math.sin(0.6 * second + p[3]) + 2 * math.sin(1.6 * second + p[4])
        forward = np.array([ahead[0] - x, ahead[1] - y, 16.0])
        forward[0] += 9 * math.sin(0.45 * second + p[5]) + 3 * math.sin(1.7 * second + p[6])
        forward[1] += 9 * math.sin(0.38 * second + p[7]) + 3 * math.sin(1.4 * second + p[8])
        forward /= np.linalg.norm(forward)
        roll = 0.5 * math.sin(0.21 * second + p[9]) + p[10]
        right = np.cross([math.sin(roll), -math.cos(roll), 0.0], forward)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        return np.array([[x, y, z], right, down, forward])

    def _centre(self, z: float) -> NDArray[np.float64]:
        rows = np.arange(Z_CELLS + 1)
        row = z / Z_STEP_MM % Z_CELLS
        line = np.vstack([self._world.centre, self._world.centre[:1]])
        return np.array([np.interp(row, rows, line[:, 0]), np.interp(row, rows, line[:, 1])])

    def _near(self, camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """The spheres in front of the camera, moved by whole loops to where it is."""
        spheres = self._world.spheres.copy()
        ahead = (spheres[:, 2] - camera[0, 2] + 15) % LENGTH_MM - 15
        spheres[:, 2] = camera[0, 2] + ahead
        return spheres[ahead < LIT_MM]

    def _finish(
        self, colour: NDArray[np.float32], cover: NDArray[np.float32], second: float, index: int
    ) -> tuple[Image, Mask]:
        """Defocus, enlarge, grain, surround; the mask of what can be seen."""
        settings = self.settings
        size = (settings.width, settings.height)
        small = cv2.convertScaleAbs(self._defocused(colour, second), alpha=255)
        image = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
        image = cv2.add(image, self._grain_of(index), dtype=cv2.CV_8U)
        image = cv2.multiply(image, self._field_bgr, scale=1 / 255)
        whole = cv2.morphologyEx(cover, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        shown = cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR) >= 0.5
        truth = (shown & (self._field >= 128)).astype(np.uint8)
        return image.astype(np.uint8, copy=False), truth

    def _defocused(self, colour: NDArray[np.float32], second: float) -> NDArray[np.float32]:
        """Always slightly soft; now and then out of focus for a moment."""
        wave = math.sin(0.9 * second + self._phases[11])
        out = max(0.0, wave - OUT_OF_FOCUS_ABOVE) / (1 - OUT_OF_FOCUS_ABOVE)
        sigma = (SOFT_PX + out * (OUT_OF_FOCUS_PX - SOFT_PX)) * colour.shape[0] / SHADED_ROWS
        return np.asarray(cv2.GaussianBlur(colour, (0, 0), sigma + 0.01), dtype=np.float32)

    def _grain_of(self, index: int) -> NDArray[np.int16]:
        """A window of the grain, at another place for each frame."""
        rng = np.random.default_rng((self.settings.seed, 3, index))
        top, left = rng.integers(0, TILE_MARGIN_PX, 2)
        return self._grain[top : top + self.settings.height, left : left + self.settings.width]


def visible_field(width: int, height: int) -> Mask:
    """`(height, width) uint8`, 255 where the endoscope shows a picture: an octagon, soft-edged."""
    half_w = min(width, FIELD_PER_HEIGHT * height) / 2
    half_h = height / 2
    cut = CORNER_PER_HEIGHT * height
    x = np.abs(np.arange(width) + 0.5 - width / 2)[None]
    y = np.abs(np.arange(height) + 0.5 - height / 2)[:, None]
    inside = np.minimum(half_w - x, (half_w + half_h - cut - x - y) / math.sqrt(2))
    return np.clip(255 * (inside + np.zeros_like(y)), 0, 255).astype(np.uint8)


def _spans(height: int, width: int) -> NDArray[np.int32]:
    """`(height, 2)`: the columns of each row that the field shows, a pixel more each side."""
    reach = visible_field(width, height) > 0
    columns = np.arange(width)[None]
    first = np.where(reach, columns, width).min(axis=1) - MARGIN_PX
    last = np.where(reach, columns, -1).max(axis=1) + 1 + MARGIN_PX
    spans = np.stack([np.clip(first, 0, width), np.clip(last, 0, width)], axis=1)
    return spans.astype(np.int32)


def _grain_tile(settings: SceneSettings) -> NDArray[np.int16]:
    rng = np.random.default_rng((settings.seed, 4))
    shape = (settings.height + TILE_MARGIN_PX, settings.width + TILE_MARGIN_PX, 3)
    return np.rint(rng.normal(0, GRAIN_SIGMA, shape)).astype(np.int16)


def _check(settings: SceneSettings) -> None:
    for name, value in (("width", settings.width), ("height", settings.height)):
        if value < 1:
            raise ConfigError(f"scene {name} is {value} px; want 1 or more")
    if settings.fps <= 0:
        raise ConfigError(f"scene rate is {settings.fps} frames/s; want more than 0")
    if settings.frame_count is not None and settings.frame_count < 1:
        raise ConfigError(f"scene has {settings.frame_count} frames; want 1 or more, or None")
    if settings.seed < 0:
        raise ConfigError(f"scene seed is {settings.seed}; want 0 or more")
