"""Uses an imported bundle as any other: calibrates it, scores it and shows it."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.calibration.candidates import candidates
from qlumen.calibration.import_job import import_network
from qlumen.calibration.int8 import make_int8
from qlumen.calibration.sizes import bundles_of_sides
from qlumen.calibration.temperature import temper, write_temperature
from qlumen.errors import BundleError
from qlumen.networks.bundle import CARD, WEIGHTS, Bundle, read_bundle, write_manifest
from qlumen.networks.circuit import read_circuit
from qlumen.networks.deploy import resize_bundle
from qlumen.networks.openvino import ov
from qlumen.realtime.cli import commands
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.training.build import read_network
from qlumen.training.settings import TrainSettings

from support.foreign import ANSWERS, HEIGHT, WIDTH, make_small, write_onnx

IMAGE = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("imported")
    path = write_onnx(make_small(), folder / "small.onnx", 1, 3, HEIGHT, WIDTH)
    import_network(path, folder / "bundle", ANSWERS, "small")
    return read_bundle(folder / "bundle")


def run(*words: object) -> str:
    done = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_temperature_divides_the_logits(bundle: Bundle, tmp_path: Path) -> None:
    """A temperature changes the map as it does the map's log-odds, again and again."""
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    with OpenVinoEngine(bundle.model) as engine:
        before = engine.infer(IMAGE)
    for temperature in (2.0, 0.8):
        write_temperature(read_bundle(folder), temperature)
        write_manifest(folder, bundle.manifest)
        before = temper(before, temperature)
        with OpenVinoEngine(folder / "network.xml") as engine:
            np.testing.assert_allclose(engine.infer(IMAGE), before, atol=5e-5)


def test_threshold_and_scores(bundle: Bundle, scene_data: Path, tmp_path: Path) -> None:
    """Thresholds are fitted and written with the scores, and the card keeps the licence."""
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    run("calibrate", "threshold", "--bundle", folder, "--data", scene_data, "--write")
    written = read_bundle(folder)
    assert written.manifest.calibration["fitted_on"] == "val"
    assert "val" in written.manifest.metrics
    card = (folder / CARD).read_text()
    for wanted in ("## Scores", "## Calibration", "MIT", "small.onnx"):
        assert wanted in card
    report = tmp_path / "scores.json"
    run("evaluate", "--data", scene_data, "--set", f"model.bundle={folder}", "--json", report)
    assert json.loads(report.read_text())


def test_int8_leaves_the_last_layer(bundle: Bundle, scene_data: Path, tmp_path: Path) -> None:
    """INT8 quantises the first convolution, and not the last one, whose values decide."""
    made = make_int8(bundle, tmp_path / "int8", scene_data, image_count=4, force=True)
    model = ov.Core().read_model(made.model)
    convolutions = [op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    fed = [op.input_value(0).get_node().get_type_name() for op in convolutions]
    assert fed[0] == "FakeQuantize"
    assert fed[-1] != "FakeQuantize"
    with OpenVinoEngine(bundle.model) as own, OpenVinoEngine(made.model) as other:
        difference = np.abs(own.infer(IMAGE) - other.infer(IMAGE))
    assert 0 < difference.mean() < 0.05
    assert made.manifest.imported == bundle.manifest.imported


def test_budget_tries_the_one_size(
    bundle: Bundle, scene_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget measures an imported bundle in OpenVINO alone, at its own size."""
    monkeypatch.setattr("qlumen.calibration.sizes.INT8_LIBRARY", "no_such_library")
    lines: list[str] = []
    found = bundles_of_sides([bundle], (32, 64), scene_data, lines.append)
    assert found == [bundle]
    assert any("one input size" in line for line in lines)
    assert {one.engine for one in candidates([bundle])} == {"openvino"}
    output = tmp_path / "budget.yaml"
    run("calibrate", "budget", "--bundle", bundle.folder, "--output", output, "--seconds", 1,
        "--fps", 0.5, "--source-size", "320x240")  # fmt: skip
    assert load_settings(output, []).model.bundle == bundle.folder


def test_replay_and_live(bundle: Bundle, tmp_path: Path) -> None:
    """A recording and live video are drawn with an imported bundle, in each frame."""
    scene = ("--set", "scene.width=320", "--set", "scene.height=240", "--set", "scene.frames=6",
             "--set", f"model.bundle={bundle.folder}")  # fmt: skip
    summary = tmp_path / "replay.json"
    run("replay", "scene", "--json", summary, *scene)
    assert json.loads(summary.read_text())["frames"] == 6
    live = tmp_path / "live.json"
    run("live", "scene", "--json", live, *scene)
    assert json.loads(live.read_text())["shown"] == 6


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_other_engines_refuse(engine: str, bundle: Bundle) -> None:
    """An engine that would build qlumen's own network says that it cannot."""
    settings = load_settings(None, [f"engine.name={engine}"])
    with pytest.raises(BundleError, match="imported network"):
        open_engine(bundle, settings)


def test_auto_takes_openvino(bundle: Bundle) -> None:
    """Without a named engine, OpenVINO runs an imported network."""
    with closing(open_engine(bundle, Settings())) as engine:
        assert engine.describe()["name"] == "openvino"


def test_nothing_rebuilds_it(bundle: Bundle, tmp_path: Path) -> None:
    """Training, other sizes and the circuit refuse an imported network, weights or not."""
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    shutil.copyfile(bundle.folder / CARD, tmp_path / "bundle" / WEIGHTS)
    with pytest.raises(BundleError, match="imported network"):
        read_network(bundle.folder, TrainSettings())
    with pytest.raises(BundleError, match="imported network"):
        resize_bundle(bundle, tmp_path / "other", 64)
    with pytest.raises(BundleError, match="no circuit"):
        read_circuit(bundle)
