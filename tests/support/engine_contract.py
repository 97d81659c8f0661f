"""Defines the contract of engines: the tests that each engine inherits."""

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

MAX_SHARE, HALF_SHARE = 1e-4, 1e-3
"""Share of pixels whose mask may differ from the reference, in single and in half precision."""


@cache
def bundle() -> Bundle:
    return read_bundle(find_bundle())


@cache
def scene() -> Sequence[Frame]:
    return scene_frames()[::2]


class Remembered:
    """Runs a network once for each image."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[bytes, Probability] = {}

    def __call__(self, image: Image) -> Probability:
        key = image.tobytes()
        if key not in self._known:
            self._known[key] = self._network(image)
        return self._known[key]


@cache
def compiled_form() -> Network:
    """Return the bundle's compiled form in OpenVINO.

    It is closed after each image: an engine that still exists when the interpreter ends can abort
    the process.
    """

    def run(image: Image) -> Probability:
        with OpenVinoEngine(bundle().model) as engine:
            return engine.infer(image)

    return Remembered(run)


@cache
def torch_form() -> Network:
    """Return the network from the bundle's torch weights, eager."""
    network = deploy_network(bundle())

    def run(image: Image) -> Probability:
        with torch.no_grad():
            map_: Probability = network(torch.from_numpy(image)[None])[0, 0].numpy()
        return map_

    return Remembered(run)


class EngineContract:
    """Tests an engine, which a subclass opens in `open`.

    Attributes:
        name: name in the engine's description.
        max_share: share of pixels that may differ from the reference's masks.
    """

    name: str
    max_share = MAX_SHARE

    @staticmethod
    def reference() -> Network:
        """Return the network whose masks are compared; it is not the engine itself."""
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
        """The map is float32, rows by columns, from 0 to 1."""
        engine.warm_up(1)
        output = engine.infer(make_images(engine, 1)[0])
        assert output.dtype == np.float32
        assert output.shape == engine.output_size[::-1]
        assert 0 <= output.min() <= output.max() <= 1

    def test_requests_in_flight_do_not_mix(self, engine: Engine) -> None:
        """All frames in flight give their own maps, in any order of the requests."""
        assert engine.requests > 1
        given = make_images(engine, engine.requests)
        alone = [engine.infer(image) for image in given]
        tickets = [engine.submit(image) for image in given]
        for ticket, wanted in reversed(list(zip(tickets, alone, strict=True))):
            np.testing.assert_allclose(ticket.result(), wanted, atol=1e-6)
        assert not np.allclose(alone[0], alone[1], atol=1e-6)

    def test_result_survives_the_next_inference(self, engine: Engine) -> None:
        """A map is a copy: the engine may use its memory again."""
        first, second = make_images(engine, 2)
        kept = engine.infer(first)
        before = kept.copy()
        engine.infer(second)
        np.testing.assert_array_equal(kept, before)

    def test_discarded_frames_free_their_place(self, engine: Engine) -> None:
        """After more discarded frames than may be in flight, the next map is right."""
        first, second = make_images(engine, 2)
        wanted = engine.infer(first)
        for _ in range(engine.requests + 1):
            engine.submit(second).discard()
        np.testing.assert_allclose(engine.infer(first), wanted, atol=1e-6)

    def test_wrong_input_names_both_sides(self, engine: Engine) -> None:
        """A wrong shape, type or layout is refused, and the error names the right one."""
        (good,) = make_images(engine, 1)
        height, width, _ = good.shape
        wide = np.zeros((height, 2 * width, 3), np.uint8)
        wanted = rf"needs \({height}, {width}, 3\) uint8, contiguous"
        for bad in (good[1:], good.astype(np.float32), good[..., 0], wide[:, ::2]):
            with pytest.raises(EngineError, match=wanted):
                engine.submit(bad)

    def test_description_names_engine_version_and_requests(self, engine: Engine) -> None:
        """The description fits into a summary as JSON."""
        about = engine.describe()
        assert about["name"] == self.name
        assert about["requests"] == engine.requests
        assert all(isinstance(key, str) for key in about)

    def test_masks_of_the_scene_are_the_reference_s(self, engine: Engine) -> None:
        """On frames of the built-in scene with polyps, the masks are those of the reference."""
        parity = compare(bundle(), scene(), self.reference(), engine.infer)
        assert parity.found_share > 0.01
        assert parity.differing_share <= self.max_share

    @pytest.mark.data
    def test_masks_of_real_frames_are_the_reference_s(
        self, engine: Engine, real_frames: Sequence[Frame]
    ) -> None:
        """The same holds on frames of a recorded examination and stills of two data sets."""
        parity = compare(bundle(), real_frames, self.reference(), engine.infer)
        assert parity.found_share > 0.01
        assert parity.differing_share <= self.max_share

    def test_closed_engine_takes_no_frame(self) -> None:
        """An engine may be closed twice; a frame after that is an error, not a wait."""
        engine = self.open()
        pending = engine.submit(make_images(engine, 1)[0])
        assert pending.result().shape == engine.output_size[::-1]
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.submit(make_images(engine, 1)[0])


def make_images(engine: Engine, count: int) -> list[np.ndarray]:
    """Make images of noise, so that maps differ."""
    width, height = engine.input_size
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]
