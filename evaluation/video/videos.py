"""Provides the videos on which alarms are scored: rendered scenes and panned images."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from qlumen.datasets.pairs import read_bgr
from qlumen.datasets.splits import spread
from qlumen.evaluation.detection import MIN_LESION_SHARE
from qlumen.realtime.endoscope.field import crop, find_field
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Box, Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

FPS = Fraction(25)
SCENE_SIZE = 720, 540
SCENE_S = 120.0
SCORED_SEED = 5_000
"""First seed of the scored scenes. No other part of qlumen uses seeds from here to 5,999."""
PAN_S = 4.0
PAN_ZOOM = (1.15, 1.5)
PAN_TURN_DEG = 6.0
PAN_GAIN = 0.08
GRAIN_SIGMA = 1.5
LONGEST_PX = 720
"""Longer side of a panned image."""

Sights = Mapping[int, Box]
"""Box of each lesion in view, by its number."""


@dataclass(frozen=True, slots=True)
class Video:
    """Describes a video that can be played again.

    Attributes:
        cluster: what it shares with videos that are not independent of it.
        play: function that yields each frame with the lesions in view.
    """

    name: str
    cluster: str
    frame_count: int
    play: Callable[[], Iterator[tuple[Frame, Sights]]]


def scene_videos(minutes: float, *, polyps: bool) -> list[Video]:
    """Return scenes of two minutes with obstacles, each of another colon, of these minutes."""
    whole = max(1, round(minutes * 60 * FPS))
    step = round(SCENE_S * FPS)
    return [
        Video(
            f"scene {seed}", f"scene {seed}", count := min(step, whole - number * step),
            partial(_play_scene, seed, count, polyps),
        )
        for number in range(-(-whole // step))
        for seed in (SCORED_SEED + number,)
    ]  # fmt: skip


def pan_videos(files: Sequence[Path], clusters: Sequence[str], minutes: float) -> list[Video]:
    """Return a video of four seconds for each still image, with a moving view.

    Args:
        minutes: longest length of all videos together; it takes fewer images, evenly spread.
    """
    images = spread(list(zip(files, clusters, strict=True)), max(1, int(60 * minutes / PAN_S)))
    count = round(PAN_S * FPS)
    return [
        Video(file.stem, cluster, count, partial(_play_pan, file, count))
        for file, cluster in images
    ]


def _play_scene(seed: int, count: int, polyps: bool) -> Iterator[tuple[Frame, Sights]]:
    width, height = SCENE_SIZE
    source = SceneSource(
        SceneSettings(width, height, FPS, count, seed=seed, polyps=polyps, obstacles=True)
    )
    for frame in source.frames():
        assert frame.truth is not None
        yield frame, sights(source.labels(frame.index)) if frame.truth.any() else {}


def sights(labels: NDArray[np.uint8]) -> Sights:
    """Return the box of each label, 1 upwards, that covers at least 0.05% of an `(H, W)` image."""
    found = {}
    for number in np.unique(labels[labels > 0]).tolist():
        mask = (labels == number).astype(np.uint8)
        if np.count_nonzero(mask) >= MIN_LESION_SHARE * mask.size:
            x, y, w, h = cv2.boundingRect(mask)
            found[number] = (x, y, x + w, y + h)
    return found


def _play_pan(file: Path, count: int) -> Iterator[tuple[Frame, Sights]]:
    image = read_bgr(file)
    scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    seed = int.from_bytes(os.fsencode(file.stem)[-8:], "big")
    for index, view in enumerate(pan(image, count, np.random.default_rng(seed))):
        yield Frame(index, index, 1 / FPS, BgrImage(view), 0), {}


def pan(image: Image, count: int, rng: np.random.Generator) -> Iterator[Image]:
    """Move a view over an image: shift, turn, zoom and light change smoothly, with fresh grain.

    Surround, text and the field's shape stay in place, as in video. The view never leaves the
    field's box, and dark corners of the field are filled from their neighbours before.

    Args:
        image: `(H, W, 3) uint8` BGR
        count: number of images, at 25 a second

    Yields:
        `(H, W, 3) uint8` BGR
    """
    field = find_field(image)
    mask = None if field.mask is None else crop(field.mask, field.box)
    inside = _fill(crop(image, field.box), mask)
    visible = True if mask is None else mask[..., None].astype(bool)
    height, width = inside.shape[:2]
    hertz, phases = rng.uniform(0.1, 0.5, 5), rng.uniform(0, 2 * np.pi, 5)
    low, high = PAN_ZOOM
    for index in range(count):
        waves = np.sin(2 * np.pi * hertz * index / float(FPS) + phases)
        zoom = (low + high) / 2 + waves[0] * (high - low) / 2
        room = np.array([width, height]) * (zoom - 1) / 2 * 0.7
        matrix = cv2.getRotationMatrix2D(
            ((width - 1) / 2, (height - 1) / 2), PAN_TURN_DEG * waves[1], zoom
        )
        matrix[:, 2] += waves[2:4] * room
        moved = cv2.warpAffine(inside, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        light = moved * (1 + PAN_GAIN * waves[4]) + rng.normal(0, GRAIN_SIGMA, moved.shape)
        view = image.copy()
        part = crop(view, field.box)
        shown = np.clip(np.rint(light), 0, 255).astype(np.uint8)
        np.copyto(part, shown, where=visible)
        yield view


def _fill(image: Image, mask: NDArray[np.uint8] | None) -> Image:
    """Give pixels outside the mask the colour of the nearest pixel inside."""
    if mask is None:
        return image
    rows, columns = distance_transform_edt(mask == 0, return_distances=False, return_indices=True)
    return np.ascontiguousarray(image[rows, columns])
