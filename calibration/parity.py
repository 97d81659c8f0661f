"""Whether two engines draw the same masks, on frames of the built-in scene."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import thresholds
from qlumen.realtime.sources.choose import open_source

Network = Callable[[Image], Probability]
"""From `(H, W, 3) uint8` BGR at the network's size to its map."""

SCENE = ("scene.width=640", "scene.height=480", "scene.fps=1", "scene.frames=12", "scene.seed=1")
"""Twelve seconds, in which polyps come and go, a frame of each."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Attributes:
    frames: that were compared.
    found_share: of their pixels that belong to a finding by the first network.
    differing_share: of their pixels that only one of the two masks holds.
    max_difference: of the two maps, anywhere.
    """

    frames: int
    found_share: float
    differing_share: float
    max_difference: float


def scene_frames() -> list[Frame]:
    """Twelve frames, the same at each call."""
    settings = load_settings(None, SCENE)
    with open_source("scene", settings) as source:
        return list(source.frames())


def compare(bundle: Bundle, frames: Sequence[Frame], first: Network, second: Network) -> Parity:
    """Masks after the thresholds of `bundle`, at the frames' own size."""
    spec = bundle.manifest.input
    preprocess = Preprocessor((spec.width, spec.height), spec.fit)
    postprocess = Postprocessor(**thresholds(bundle, Settings()))

    def compared() -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], float]]:
        for frame in frames:
            picture = preprocess(frame.pixels)
            maps = [network(picture) for network in (first, second)]
            rows, columns = maps[0].shape
            geometry = Geometry.of(frame.size, (columns, rows), spec.fit)
            one, other = (postprocess(map_, geometry).mask.astype(bool) for map_ in maps)
            yield one, other, float(np.abs(maps[0] - maps[1]).max())

    results = list(compared())
    pixels = sum(one.size for one, _, _ in results)
    return Parity(
        frames=len(results),
        found_share=sum(int(one.sum()) for one, _, _ in results) / pixels,
        differing_share=sum(int((one != other).sum()) for one, other, _ in results) / pixels,
        max_difference=max(difference for _, _, difference in results),
    )
