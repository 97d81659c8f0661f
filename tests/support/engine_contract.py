"""The contract of engines: tests that every one inherits."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest
import torch

from qlumen.calibration.export import Network, compare, scene_frames
from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle, find_bundle, read_bundle
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.engines.base import Engine, Probability
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image

MAX_SHARE = 1e-4
"""Of pixels whose mask may differ from the reference's, in single precision."""


@cache
def bundle() -> Bundle:
    return read_bundle(find_bundle())


@cache
def scene() -> Sequence[Frame]:
    return scene_frames()[::2]


class Remembered:
    """A network that is asked once for each picture."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[bytes, Probability] = {}

    def __call__(self, picture: Image) -> Probability:
        key = picture.tobytes()
        if key not in self._known:
            self._known[key] = self._network(picture)
        return self._known[key]


@cache
def compiled_form() -> Network:
    """The bundle's compiled form in OpenVINO, closed after each picture: an engine that is left
    when the interpreter ends can abort it."""

    def run(picture: Image) -> Probability:
        with OpenVinoEngine(bundle().model) as engine:
            return engine.infer(picture)

    return Remembered(run)


@cache
def torch_form() -> Network:
    """The network from the bundle's torch weights, eager."""
    network = deploy_network(bundle())

    def run(picture: Image) -> Probability:
        with torch.no_grad():
            map_: Probability = network(torch.from_numpy(picture)[None])[0, 0].numpy()
        return map_

    return Remembered(run)


class EngineContract:
    """A class for an engine opens it in `open`.

    Attributes:
        name: that the engine describes itself with.
        max_share: of pixels that may differ from the reference's masks.
    """

    name: str
    max_share = MAX_SHARE

    @staticmethod
    def reference() -> Network:
        """What the masks are compared with: not the engine itself."""
        return compiled_form()

    @classmethod
    def open(cls) -> Engine:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[Engine]:
        with cls.open() as engine:
            yield engine

    def test_output_is_a_probability_map_of_the_stated_size(self, engine: Engine) -> None:
        """Float32, rows by columns, within 0 to 1."""
        engine.warm_up(1)
        output = engine.infer(pictures(engine, 1)[0])
        assert output.dtype == np.float32
        assert output.shape == engine.output_size[::-1]
        assert 0 <= output.min() <= output.max() <= 1

    def test_requests_in_flight_do_not_mix(self, engine: Engine) -> None:
        """As many frames as may be in flight each give their own map, in whatever order asked."""
        assert engine.requests > 1
        given = pictures(engine, engine.requests)
        alone = [engine.infer(picture) for picture in given]
        tickets = [engine.submit(picture) for picture in given]
        for ticket, wanted in reversed(list(zip(tickets, alone, strict=True))):
            np.testing.assert_allclose(ticket.result(), wanted, atol=1e-6)
        assert not np.allclose(alone[0], alone[1], atol=1e-6)

    def test_result_survives_the_next_inference(self, engine: Engine) -> None:
        """A map is a copy: the memory that held it may be used again."""
        first, second = pictures(engine, 2)
        kept = engine.infer(first)
        before = kept.copy()
        engine.infer(second)
        np.testing.assert_array_equal(kept, before)

    def test_discarded_frames_free_their_place(self, engine: Engine) -> None:
        """More frames than may be in flight are discarded, and the next one is right."""
        first, second = pictures(engine, 2)
        wanted = engine.infer(first)
        for _ in range(engine.requests + 1):
            engine.submit(second).discard()
        np.testing.assert_allclose(engine.infer(first), wanted, atol=1e-6)

    def test_wrong_input_names_both_sides(self, engine: Engine) -> None:
        """Shape, type or layout other than the stated one is refused with what is wanted."""
        (good,) = pictures(engine, 1)
        height, width, _ = good.shape
        wide = np.zeros((height, 2 * width, 3), np.uint8)
        wanted = rf"want \({height}, {width}, 3\) uint8, contiguous"
        for bad in (good[1:], good.astype(np.float32), good[..., 0], wide[:, ::2]):
            with pytest.raises(EngineError, match=wanted):
                engine.submit(bad)

    def test_description_names_engine_version_and_requests(self, engine: Engine) -> None:
        """What goes into the summaries, as JSON takes it."""
        about = engine.describe()
        assert about["name"] == self.name
        assert about["requests"] == engine.requests
        assert all(isinstance(key, str) for key in about)

    def test_masks_of_the_scene_are_the_reference_s(self, engine: Engine) -> None:
        """On frames of the built-in scene, in which it finds polyps."""
        parity = compare(bundle(), scene(), self.reference(), engine.infer)
        assert parity.found_share > 0.01
        assert parity.differing_share <= self.max_share

    @pytest.mark.data
    def test_masks_of_real_frames_are_the_reference_s(
        self, engine: Engine, real_frames: Sequence[Frame]
    ) -> None:
        """On frames of a recorded examination and stills of two data sets."""
        parity = compare(bundle(), real_frames, self.reference(), engine.infer)
        assert parity.found_share > 0.01
        assert parity.differing_share <= self.max_share

    def test_closed_engine_takes_no_frame(self) -> None:
        """Closing twice is fine; a frame after it is an error, not a wait."""
        engine = self.open()
        pending = engine.submit(pictures(engine, 1)[0])
        assert pending.result().shape == engine.output_size[::-1]
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.submit(pictures(engine, 1)[0])


def pictures(engine: Engine, count: int) -> list[np.ndarray]:
    """Noise, so that maps differ."""
    width, height = engine.input_size
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]
