"""Quantises a small network on images of the scene, and runs it in the engine."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

from qlumen.calibration import int8
from qlumen.calibration.calibration_images import CalibrationImages, read_calibration_images
from qlumen.calibration.command import command
from qlumen.calibration.quantise import (
    int8_layers,
    map_distance,
    quantise,
    rank_runs,
    restore_layers,
)
from qlumen.datasets.splits import split_pairs, spread
from qlumen.errors import (
    BundleError,
    BundleHashError,
    DatasetError,
    MissingExtraError,
    TrainingError,
    UsageError,
)
from qlumen.networks.bundle import (
    MANIFEST,
    TABLES,
    WEIGHTS,
    Bundle,
    read_bundle,
    write_manifest,
)
from qlumen.networks.openvino import ov
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.training.build import read_network
from qlumen.training.settings import TrainSettings

UNTOUCHED = ("network.bottleneck", "network.head", "circuit.")


@pytest.fixture(scope="module")
def calibration_set(tiny: Bundle, scene_data: Path) -> CalibrationImages:
    spec = tiny.manifest.input
    return read_calibration_images(scene_data, Preprocessor((spec.width, spec.height), spec.fit), 6)


@pytest.fixture(scope="module")
def original(tiny: Bundle) -> ov.Model:
    return ov.Core().read_model(tiny.model)


@pytest.fixture(scope="module")
def int8_model(original: ov.Model, calibration_set: CalibrationImages) -> ov.Model:
    return quantise(original, calibration_set)


@pytest.fixture(scope="module")
def int8_bundle(tiny: Bundle, scene_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Quantise the small network by the command, on data without lesions, so that no Dice can
    be lost."""
    folder = tmp_path_factory.mktemp("written")
    root = Path(shutil.copytree(scene_data, folder / "data"))
    for path in (root / "scene/masks").iterdir():
        cv2.imwrite(str(path), np.zeros((80, 96), np.uint8))
    result = run(tiny, folder / "int8", root, "--json", folder / "report.json")
    assert result.exit_code == 0
    return read_bundle(folder / "int8")


def run(bundle: Bundle, output: Path, data: Path, *options: object) -> Result:
    arguments = ["int8", "--bundle", bundle.folder, "--output", output, "--data", data]
    arguments += ["--image-count", 6, *options]
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def map_of(bundle: Bundle, *overrides: str) -> np.ndarray:
    segmenter = Segmenter.open(bundle, load_settings(None, overrides))
    width, height = segmenter.engine.input_size
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    try:
        return segmenter.engine.infer(image)
    finally:
        segmenter.close()


def test_images_are_of_the_training_side(
    calibration_set: CalibrationImages, scene_data: Path
) -> None:
    """No image is for validation or held out, and both kinds take part."""
    held_back = {pair.image.name for pair in split_pairs(scene_data, "val")}
    assert not held_back & set(calibration_set.names)
    free = [name for name in calibration_set.names if name.startswith("train")]
    assert (len(calibration_set.names), len(free)) == (6, 2)


def test_spread_takes_evenly() -> None:
    """3 of 9 are every third one, and a number above the length gives all."""
    assert spread(range(9), 3) == [0, 3, 6]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([1, 2], 0) == []


def test_circuit_and_head_stay_in_single_precision(int8_model: ov.Model) -> None:
    """Quantisers and 8-bit constants feed no operation in the bottleneck or the head, and most
    convolutions elsewhere."""
    ops = int8_model.get_ops()
    untouched = [op for op in ops if any(part in op.get_friendly_name() for part in UNTOUCHED)]
    inner = [op for op in untouched if "/fq_" not in op.get_friendly_name()]
    assert {"Convolution", "MatMul", "Sin"} <= {op.get_type_name() for op in inner}
    for op in inner:
        for source in op.input_values():
            kind, element = source.get_node().get_type_name(), source.get_element_type()
            assert kind != "FakeQuantize"
            assert element != ov.Type.i8
    eight = [op for op in ops if op.get_output_element_type(0) == ov.Type.i8]
    assert len(eight) == len(int8_layers(int8_model)) > 40


def test_restored_layers_bring_the_map_back(
    int8_model: ov.Model, original: ov.Model, calibration_set: CalibrationImages
) -> None:
    """With all convolutions in FP32 the map is nearer to the original's. The restored layers are
    no longer in INT8."""
    layers = int8_layers(int8_model)
    back = restore_layers(int8_model, original, layers)
    assert int8_layers(back) == []
    some = calibration_set.images[:3]
    assert map_distance(back, original, some) < 0.8 * map_distance(int8_model, original, some)
    assert len(int8_layers(restore_layers(int8_model, original, layers[:1]))) == len(layers) - 1
    assert int8_layers(int8_model) == layers


def test_ranking_puts_the_worst_run_first(
    int8_model: ov.Model, original: ov.Model, calibration_set: CalibrationImages
) -> None:
    """Layers come in runs of four neighbours, in the order of the distances that remain when one
    run alone returns to FP32."""
    names, some = int8_layers(int8_model)[:12], calibration_set.images[:2]
    ranked = rank_runs(int8_model, original, names, some)
    assert sorted(ranked, key=lambda run: names.index(run[0])) == [
        names[:4], names[4:8], names[8:],
    ]  # fmt: skip
    left = [
        map_distance(restore_layers(int8_model, original, run), original, some) for run in ranked
    ]
    assert left == sorted(left)


def test_command_writes_a_separate_bundle(tiny: Bundle, int8_bundle: Bundle) -> None:
    """The bundle is smaller, holds only the circuit's weights, names its source, and has the
    figures of the report."""
    record = int8_bundle.manifest.quantised
    assert record is not None
    assert record.bundle_sha256 == tiny.sha256
    assert record.pictures == 6
    report = json.loads((int8_bundle.folder.parent / "report.json").read_text())["report"]
    assert report == record.report
    assert int8_bundle.manifest.metrics == report["after"]
    assert report["bytes"]["after"] < 0.6 * report["bytes"]["before"]
    assert {"before", "after"} <= set(report["ms"]) <= {"before", "before_bf16", "after"}
    with safe_open(int8_bundle.folder / WEIGHTS, framework="numpy") as file:
        assert list(file.keys()) == ["bottleneck.core.weights"]
    assert (int8_bundle.folder / TABLES).read_bytes() == (tiny.folder / TABLES).read_bytes()
    assert "## INT8" in (int8_bundle.folder / "CARD.md").read_text()
    assert [path.name for path in int8_bundle.folder.parent.iterdir() if path.name[0] == "."] == []


def test_live_circuit_runs_in_an_int8_network(int8_bundle: Bundle, tiny: Bundle) -> None:
    """A circuit that is simulated gate by gate gives the map of its tables, on processors with and
    without VNNI, in INT8 and in single precision."""
    for bundle in (int8_bundle, tiny):
        tables = map_of(bundle)
        live = map_of(bundle, "quantum.executor=default.qubit", "quantum.memo_step=0")
        np.testing.assert_allclose(live, tables, atol=2e-3)
        assert tables.std() > 0.05


def test_training_needs_the_trained_weights(int8_bundle: Bundle, tiny: Bundle) -> None:
    """A training that starts from an INT8 bundle raises an error that names the FP32 bundle."""
    settings = TrainSettings(qubits=2)
    with pytest.raises(BundleError, match=tiny.sha256[:12]):
        read_network(int8_bundle.folder, settings)
    with pytest.raises((BundleError, TrainingError)):
        read_network(int8_bundle.folder, TrainSettings(qubits=3))


def test_loss_is_refused_and_nothing_written(
    tiny: Bundle, truth_is_fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the truth is the masks of FP32, INT8 loses Dice, also with layers back in FP32. The
    command then keeps the old bundle."""
    monkeypatch.setattr(int8, "RESTORED", (2,))
    output = tmp_path / "int8"
    shutil.copytree(tiny.folder, output)
    before = (output / MANIFEST).read_bytes()
    with pytest.raises(BundleError, match=r"INT8 loses 0\.\d+ Dice on val, more than 0\.003"):
        run(tiny, output, truth_is_fp32)
    assert (output / MANIFEST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        ("", UsageError, "is the bundle itself"),
        ("../nowhere/int8", UsageError, "there is no folder"),
        ("../taken", BundleError, "holds precious.txt"),
    ],
)
def test_bad_output_ends_before_any_work(
    tiny: Bundle, tmp_path: Path, output: str, error: type[Exception], message: str
) -> None:
    """An output that is not writable raises an error before the data is read."""
    bundle = read_bundle(Path(shutil.copytree(tiny.folder, tmp_path / "bundle")))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/precious.txt").write_text("mine")
    with pytest.raises(error, match=message):
        run(bundle, bundle.folder / output, tmp_path / "no data")
    assert (tmp_path / "taken/precious.txt").read_text() == "mine"


def test_int8_cannot_be_quantised_again(
    int8_bundle: Bundle, scene_data: Path, tmp_path: Path
) -> None:
    """An INT8 bundle as the source raises an error."""
    with pytest.raises(BundleError, match="is already INT8"):
        run(int8_bundle, tmp_path / "again", scene_data)


def test_missing_data_and_damage_are_named(tiny: Bundle, tmp_path: Path) -> None:
    """The error names a missing list of a split, and a file with a flipped bit."""
    with pytest.raises(DatasetError, match=r"no split in .*splits"):
        run(tiny, tmp_path / "int8", tmp_path)
    damaged = Path(shutil.copytree(tiny.folder, tmp_path / "damaged"))
    data = bytearray((damaged / "network.bin").read_bytes())
    data[100] ^= 1
    (damaged / "network.bin").write_bytes(data)
    with pytest.raises(BundleHashError, match=r"network\.bin does not match"):
        CliRunner().invoke(
            command,
            ["int8", "--bundle", str(damaged), "--output", str(tmp_path / "x"), "--data", "."],
            catch_exceptions=False,
        )


def test_missing_nncf_is_named(
    original: ov.Model, calibration_set: CalibrationImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library the error says what to install."""
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qlumen\[train\]'"):
        quantise(original, calibration_set)


def test_manifest_of_other_precision_needs_its_weights(tiny: Bundle, tmp_path: Path) -> None:
    """An FP32 bundle without weights raises an error for any manifest."""
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "bundle"))
    (folder / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=f"has no hash of {WEIGHTS}"):
        write_manifest(folder, tiny.manifest)
