"""Preprocessing, engine and post-processing of a bundle, as one step from frame to findings."""

from dataclasses import dataclass
from typing import Any

from qlumen.networks.bundle import Bundle
from qlumen.realtime.config import Settings
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.frames import Frame, Image, Segmentation
from qlumen.realtime.geometry import Geometry
from qlumen.realtime.postprocess import Postprocessor
from qlumen.realtime.preprocess import Preprocessor


@dataclass(frozen=True, slots=True)
class Segmenter:
    """The stages may run in different threads, each for one frame at a time."""

    preprocess: Preprocessor
    engine: Engine
    postprocess: Postprocessor

    @classmethod
    def open(cls, bundle: Bundle, settings: Settings) -> "Segmenter":
        """Compile the bundle's network; `settings` may override its thresholds.

        Raises:
            EngineError: the network cannot be compiled here.
            ConfigError: thresholds that contradict each other.
        """
        spec = bundle.manifest.input
        thresholds: dict[str, Any] = bundle.manifest.thresholds.model_dump()
        thresholds |= settings.postprocess.model_dump(exclude_none=True)
        postprocess = Postprocessor(**thresholds)
        engine = OpenVinoEngine(bundle.model, **settings.engine.model_dump())
        return cls(Preprocessor((spec.width, spec.height), spec.fit), engine, postprocess)

    def submit(self, image: Image) -> Ticket:
        """Preprocess and start the network; waits when too many frames are in flight."""
        return self.engine.submit(self.preprocess(image))

    def finish(self, frame: Frame, probability: Probability) -> Segmentation:
        """From the network's map to findings at the frame's size."""
        size = (probability.shape[1], probability.shape[0])
        return self.postprocess(probability, Geometry.of(frame.size, size, self.preprocess.fit))

    def warm_up(self) -> None:
        """Compile and allocate everything on a black picture of the network's size."""
        self.engine.warm_up()

    def close(self) -> None:
        self.engine.close()
