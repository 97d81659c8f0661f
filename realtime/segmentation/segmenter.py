"""Joins preprocessing, engine and post-processing to one step from a frame to findings."""

import math
from dataclasses import dataclass, replace

import numpy as np

from qlumen.errors import BundleError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.frames import Frame, Segmentation
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.preprocess import Preprocessor

POSITIONS = range(1, 6)
"""Positions of the dial from quiet to sensitive. Each has measured alarms."""
OWN_POSITION = 3
ODDS_STEP = 1.0
"""Log-odds between the thresholds of two positions."""


@dataclass(frozen=True, slots=True)
class Segmenter:
    """Holds the three stages. They may run in different threads, each for one frame at a time.

    Attributes:
        second_look: whether the network judges an image that stands alone upside down too.
        others: names of the other classes whose maps the network gives.
    """

    preprocess: Preprocessor
    engine: Engine
    postprocess: Postprocessor
    second_look: bool = False
    others: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, bundle: Bundle, settings: Settings, *, live: bool = False, engine: Engine | None = None
    ) -> "Segmenter":
        """Compile the bundle's network. `settings` may override its thresholds.

        With `live` each map comes as soon as possible, else as many maps a second as possible.

        Args:
            engine: open engine of this bundle, to use in place of a new one.

        Raises:
            EngineError: the network cannot be compiled here.
            MissingExtraError: the engine's library or the device for the circuit is missing.
            BundleError: the bundle holds nothing that the engine can run.
            CircuitError: the device does not accept the circuit.
            ConfigError: settings contradict each other.
        """
        spec = bundle.manifest.input
        postprocess = Postprocessor(**thresholds(bundle, settings))
        engine = engine or open_engine(bundle, settings, live=live)
        if engine.input_size != (spec.width, spec.height):
            engine.close()
            raise BundleError(
                f"{bundle.folder}: the manifest says {spec.width}x{spec.height}, the network "
                f"takes {engine.input_size[0]}x{engine.input_size[1]}; export the bundle again"
            )
        preprocess = Preprocessor((spec.width, spec.height), spec.fit)
        # Networks of other makers may never have seen an image upside down.
        imported = bundle.manifest.imported
        second_look = settings.analysis.second_look and imported is None
        others = tuple(name for name, _ in imported.others) if imported else ()
        return cls(preprocess, engine, postprocess, second_look, others)

    def with_thresholds(self, bundle: Bundle, settings: Settings) -> "Segmenter":
        """Keep the engine and change the thresholds. Raise ConfigError if they contradict."""
        return replace(self, postprocess=Postprocessor(**thresholds(bundle, settings)))

    def submit(self, pixels: Pixels) -> Ticket:
        """Fit an image and start the network on it. Wait while too many are in flight."""
        return self.engine.submit(self.preprocess(pixels))

    def submit_twice(self, image: Image) -> Ticket:
        """Judge a fitted image, and start on it upside down; the ticket has the mean of both.

        This is test-time augmentation (Krizhevsky et al. 2012). Training mirrors images too.
        """
        upright = self.engine.infer(image)
        return _Mean(upright, self.engine.submit(np.ascontiguousarray(image[::-1])))

    def finish(self, frame: Frame, probability: Probability) -> Segmentation:
        """Turn the network's map into findings at the frame's size."""
        return self.postprocess(probability, self._geometry(frame.size))

    def warm_up(self, frame_size: tuple[int, int]) -> Segmentation:
        """Compile and allocate everything. Return a made-up finding on a frame of that size."""
        self.engine.warm_up()
        width, height = self.engine.output_size
        made_up = np.zeros((height, width), np.float32)
        made_up[height // 4 : height // 2, width // 4 : width // 2] = 1
        return self.postprocess(made_up, self._geometry(frame_size))

    def close(self) -> None:
        self.engine.close()

    def _geometry(self, frame_size: tuple[int, int]) -> Geometry:
        return Geometry.of(frame_size, self.engine.output_size, self.preprocess.fit)


class _Mean(Ticket):
    """Represents an image in flight upside down whose upright map is known."""

    def __init__(self, upright: Probability, flipped: Ticket) -> None:
        self._upright, self._flipped = upright, flipped

    def result(self) -> Probability:
        return (self._upright + self._flipped.result()[::-1]) * np.float32(0.5)

    def discard(self) -> None:
        self._flipped.discard()


def thresholds(bundle: Bundle, settings: Settings) -> dict[str, float]:
    """Return `low`, `high` and `min_area_fraction`: the bundle's own if settings omit them.

    `postprocess.sensitivity` moves the bundle's own `high` by `ODDS_STEP` for each position.
    """
    own: dict[str, float] = bundle.manifest.thresholds.model_dump()
    given = settings.postprocess.model_dump(exclude_none=True)
    if steps := OWN_POSITION - given.pop("sensitivity"):
        odds = math.log(own["high"] / (1 - own["high"])) + steps * ODDS_STEP
        own["high"] = round(1 / (1 + math.exp(-odds)), 5)
        own["low"] = min(own["low"], own["high"])
    return own | given
