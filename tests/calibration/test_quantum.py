import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from qlumen.calibration.command import command
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import TABLES, Bundle, Thresholds, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.realtime.engines.openvino import OpenVinoEngine

from support.few_checks import few_checks

SIZE = 64


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    network = UNet(NetworkConfig(bottleneck=BottleneckConfig(qubits=3))).eval()
    with torch.no_grad():
        network.bottleneck.gate.fill_(30)  # so that the tables change the map
        network.head.weight.mul_(100)
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    folder = tmp_path_factory.mktemp("bundle")
    with few_checks():
        return write_bundle(
            folder, network, name="t", version="0", size=SIZE, thresholds=thresholds, provenance={}
        )


@pytest.fixture
def bundle(original: Bundle, tmp_path: Path) -> Bundle:
    return read_bundle(Path(shutil.copytree(original.folder, tmp_path / "bundle")))


def calibrate(bundle: Bundle, *options: str) -> dict[str, object]:
    path = bundle.folder.parent / "figures.json"
    arguments = ["quantum", "--bundle", str(bundle.folder), "--json", str(path), *options]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    figures: dict[str, object] = json.loads(path.read_text())
    return figures


def infer(bundle: Bundle) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    with OpenVinoEngine(bundle.model) as engine:
        return engine.infer(image)


def test_figures_of_an_exact_device(bundle: Bundle) -> None:
    """The device takes 27 runs and gives 81 coefficients without error. Without --write the bundle
    does not change."""
    figures = calibrate(bundle, "--device", "default.qubit")
    assert (figures["circuit_runs"], figures["table_size"]) == (27, 81)
    assert figures["max_abs_error"] < 1e-10
    assert figures["checked_inputs"] == 1000
    assert read_bundle(bundle.folder).sha256 == bundle.sha256


def test_shots_leave_an_error_that_is_stored(bundle: Bundle) -> None:
    """Few shots give a coarse table, and --write stores its estimated error in the manifest."""
    figures = calibrate(bundle, "--shots", "50", "--write")
    record = read_bundle(bundle.folder).manifest.quantum
    assert record is not None
    assert record.shots == 50
    assert record.standard_error == figures["standard_error"] > 0.01
    assert record.max_abs_error > record.standard_error


def test_written_tables_are_those_that_run(bundle: Bundle) -> None:
    """Coarse tables change the compiled network's map, and exact ones restore it."""
    before = infer(bundle)
    calibrate(bundle, "--shots", "2", "--write")
    assert np.abs(infer(read_bundle(bundle.folder)) - before).max() > 1e-2
    calibrate(bundle, "--device", "default.qubit", "--write")
    renewed = read_bundle(bundle.folder)
    np.testing.assert_allclose(infer(renewed), before, atol=1e-3)
    assert renewed.manifest.quantum is not None
    with safe_open(renewed.folder / TABLES, framework="numpy") as file:
        assert file.metadata()["key"] == renewed.manifest.quantum.key
        assert file.get_tensor("table.0").shape == (27, 3)
    names = {path.name for path in renewed.folder.iterdir()}
    assert names == {path.name for path in bundle.folder.iterdir()}
