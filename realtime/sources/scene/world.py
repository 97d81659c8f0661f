"""Builds the parts of the synthetic colon that stay the same in all frames."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.sources.scene.camera import Examination
from qlumen.realtime.sources.scene.polyps import Polyp, make_polyps
from qlumen.realtime.sources.scene.texture import make_tiles
from qlumen.realtime.sources.scene.tube import Tube, make_centreline, make_tube

GRAIN_SIZE = 256
GRAIN_SIGMA = 2.3


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Holds the colon, the examination and the fixed textures.

    Attributes:
        examination: path of the camera through the colon.
        tiles: texture of the wall, see `kernels.scene_light.shade`.
        grain: noise of the sensor, `(GRAIN_SIZE, GRAIN_SIZE, 3) int8`.
    """

    tube: Tube
    polyps: list[Polyp]
    examination: Examination
    tiles: NDArray[np.uint64]
    grain: NDArray[np.int8]


@lru_cache(maxsize=1)
def make_world(seed: int) -> World:
    """Make the colon of a seed and keep the last one, because making it takes a second.

    Each part has its own random stream, so a change of one part leaves the others as they were.
    """
    streams = [np.random.default_rng((seed, part)) for part in range(6)]
    line = make_centreline(streams[0])
    tube = make_tube(streams[1], line)
    polyps = make_polyps(streams[2], tube)
    grain = np.rint(streams[5].normal(0, GRAIN_SIGMA, (GRAIN_SIZE, GRAIN_SIZE, 3)))
    return World(
        tube,
        polyps,
        Examination(streams[3], line, polyps),
        make_tiles(streams[4]),
        np.clip(grain, -127, 127).astype(np.int8),
    )
