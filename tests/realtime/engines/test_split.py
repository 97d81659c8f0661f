from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from qlumen.errors import BundleError, EngineError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Bundle, Thresholds
from qlumen.networks.circuit import read_circuit
from qlumen.networks.export import write_bundle
from qlumen.networks.graph import cut_at_circuit
from qlumen.networks.openvino import ops, ov
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.engines.split import SplitEngine
from qlumen.realtime.segmentation.segmenter import Segmenter

from support.few_checks import few_checks

SIZE = 64
CONFIGS = {
    "vqc": BottleneckConfig("vqc"),
    "hqconv": BottleneckConfig("hqconv", layers=1),
}


def make_bundle(folder: Path, config: BottleneckConfig) -> Bundle:
    torch.manual_seed(1)
    network = UNet(NetworkConfig(bottleneck=config)).eval()
    with torch.no_grad():
        network.bottleneck.gate.fill_(30)  # so that the circuit changes the map
        network.head.weight.mul_(100)
        network.bottleneck.project.weight.mul_(20)
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    with few_checks():
        return write_bundle(
            folder, network, name="t", version="0", size=SIZE, thresholds=thresholds, provenance={}
        )


@pytest.fixture(scope="module", params=CONFIGS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"), CONFIGS[request.param])


def random_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def open_segmenter(bundle: Bundle, *overrides: str) -> Segmenter:
    return Segmenter.open(bundle, load_settings(overrides=overrides))


@pytest.fixture(scope="module")
def split(bundle: Bundle) -> Iterator[Engine]:
    with open_segmenter(
        bundle,
        "quantum.executor=lightning.qubit",
        "quantum.workers=1",
        "quantum.memo_step=0",
    ).engine as engine:
        yield engine


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> Iterator[Engine]:
    with OpenVinoEngine(bundle.model) as engine:
        yield engine


def test_live_circuit_gives_the_map_of_the_tables(split: Engine, whole: Engine) -> None:
    """Two halves around `lightning.qubit` give the map of the network with compiled tables."""
    assert isinstance(split, SplitEngine)
    assert (split.input_size, split.output_size) == (whole.input_size, whole.output_size)
    for seed in range(2):
        live = split.infer(random_image(seed))
        np.testing.assert_allclose(live, whole.infer(random_image(seed)), atol=2e-3)
    about = split.describe()["quantum"]
    assert about["executor"] == "lightning.qubit"
    assert about["memo"]["lookups"] > 0


def test_map_depends_on_the_circuit(bundle: Bundle, whole: Engine) -> None:
    """Other outputs of the circuit give another map: the tail uses them."""
    live = open_segmenter(bundle, "quantum.executor=default.qubit", "quantum.shots=1")
    with live.engine as noisy:
        assert np.abs(noisy.infer(random_image()) - whole.infer(random_image())).max() > 1e-2


def test_frames_in_flight_come_back_in_order(split: Engine) -> None:
    """Two submitted frames keep their own maps; a discarded one frees its place."""
    images = [random_image(seed) for seed in range(2)]
    wanted = [split.infer(image) for image in images]
    tickets = [split.submit(image) for image in images]
    for ticket, map_ in zip(tickets, wanted, strict=True):
        np.testing.assert_allclose(ticket.result(), map_, atol=1e-6)
    for _ in range(3):
        split.submit(images[0]).discard()


def test_wrong_image_is_refused(split: Engine) -> None:
    """An image of another size is refused, as in the other engine."""
    with pytest.raises(EngineError, match="resize the frame"):
        split.infer(np.zeros((4, 4, 3), np.uint8))


def test_bundle_gives_back_its_circuit(bundle: Bundle) -> None:
    """Name and shapes of the circuit are those in the manifest."""
    trained = read_circuit(bundle)
    assert bundle.manifest.quantum is not None
    assert trained.circuit.name == bundle.manifest.quantum.circuit
    assert trained.weights.shape == trained.circuit.weight_shape


def test_bundle_without_circuit_cannot_run_live(tmp_path: Path) -> None:
    """The message says what the bottleneck is."""
    plain = make_bundle(tmp_path, BottleneckConfig("identity"))
    with pytest.raises(BundleError, match="its bottleneck is identity"):
        open_segmenter(plain, "quantum.executor=lightning.qubit")


def test_network_without_names_cannot_be_cut() -> None:
    """A model that another program exported is refused."""
    parameter = ops.parameter([1], np.float32)
    model = ov.Model([ops.relu(parameter)], [parameter])
    with pytest.raises(BundleError, match=r"no 'circuit\.inputs'"):
        cut_at_circuit(model)
