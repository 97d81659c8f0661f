"""Compares a bundle at another size with the torch network at that size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from qlumen.errors import BundleError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import (
    RESIZED_FROM,
    SHIPPED_INT8,
    TABLES,
    WEIGHTS,
    Bundle,
    find_bundle,
    read_bundle,
)
from qlumen.networks.deploy import deploy_network, resize_bundle
from qlumen.realtime.engines.openvino import OpenVinoEngine

from support.tiny_bundle import write_tiny_bundle

BOTTLENECKS = {
    "vqc": BottleneckConfig(qubits=2),
    "hqconv": BottleneckConfig("hqconv", layers=1),
    "identity": BottleneckConfig("identity", qubits=2),
}
OTHER = 96


@pytest.fixture(scope="module", params=BOTTLENECKS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("source"), BOTTLENECKS[request.param])


def test_resized_bundle_is_the_network_at_that_size(source: Bundle, tmp_path: Path) -> None:
    """The compiled form gives the map that torch computes from the source's weights and tables.

    The files of weights and tables, the thresholds and the provenance are those of the source.
    """
    made = resize_bundle(source, tmp_path / "made", OTHER)
    assert (made.manifest.input.width, made.manifest.input.height) == (OTHER, OTHER)
    assert made.manifest.thresholds == source.manifest.thresholds
    assert made.manifest.provenance == source.manifest.provenance | {RESIZED_FROM: source.sha256}
    for name in {WEIGHTS, TABLES} & source.manifest.files.keys():
        assert made.manifest.files[name] == source.manifest.files[name]
    image = np.random.default_rng(0).integers(0, 256, (OTHER, OTHER, 3), np.uint8)
    with torch.no_grad():
        wanted = deploy_network(source)(torch.from_numpy(image)[None])[0, 0].numpy()
    with OpenVinoEngine(made.model) as engine:
        np.testing.assert_allclose(engine.infer(image), wanted, atol=1e-4)
    assert wanted.std() > 0.01


def test_impossible_resizing_is_refused(tmp_path: Path) -> None:
    """An INT8 bundle has no weights to compile, and the encoder must halve a side five times."""
    with pytest.raises(BundleError, match="without the trained weights"):
        resize_bundle(read_bundle(find_bundle(SHIPPED_INT8)), tmp_path / "made", OTHER)
    with pytest.raises(ValueError, match="use 96x96"):
        resize_bundle(read_bundle(find_bundle()), tmp_path / "made", 100)
    assert not (tmp_path / "made").exists()
