"""Finds ranges for TensorRT on a small network, and tests the engine that uses them."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.numpy import load_file, save_file
from torch import Tensor

from qlumen.calibration import range_search
from qlumen.calibration import ranges as module
from qlumen.calibration.calibration_images import CalibrationImages, read_calibration_images
from qlumen.calibration.command import command
from qlumen.calibration.range_search import ranges_of
from qlumen.calibration.ranges import rank_layers
from qlumen.errors import BundleError, BundleHashError, MissingExtraError, UsageError
from qlumen.networks import deploy, export
from qlumen.networks.bundle import (
    CARD,
    MODEL,
    MODEL_WEIGHTS,
    RANGES,
    SHIPPED_INT8,
    Bundle,
    find_bundle,
    read_bundle,
    write_manifest,
)
from qlumen.networks.deploy import deploy_network
from qlumen.networks.eightbit import eight_bit_layers, eight_bit_network, quantise
from qlumen.realtime.engines.cache import EngineCache
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.engines.tensorrt import engine_key, load_or_compile
from qlumen.realtime.frames import Frame
from qlumen.realtime.segmentation.preprocess import Preprocessor

CPU = torch.device("cpu")
MIN_DICE = 0.95
"""Smallest Dice of the masks in 8 bits and in FP32, on real frames."""

needs_modelopt = pytest.mark.skipif(
    find_spec("modelopt") is None, reason="nvidia-modelopt is not installed"
)


def run(bundle: Bundle, output: Path, data: Path, *options: object) -> Result:
    arguments = ["int8", "--for", "tensorrt", "--bundle", bundle.folder, "--output", output]
    arguments += ["--data", data, "--image-count", 6, *options]
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def calibration_set(tiny: Bundle, scene_data: Path) -> CalibrationImages:
    spec = tiny.manifest.input
    return read_calibration_images(scene_data, Preprocessor((spec.width, spec.height), spec.fit), 6)


@pytest.fixture(scope="module")
def ranges_bundle(
    tiny: Bundle, scene_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Write the small network with ranges by the command, on data without lesions."""
    folder = tmp_path_factory.mktemp("ranges")
    root = Path(shutil.copytree(scene_data, folder / "data"))
    for path in (root / "scene/masks").iterdir():
        cv2.imwrite(str(path), np.zeros((80, 96), np.uint8))
    result = run(tiny, folder / "ranges_bundle", root, "--json", folder / "report.json")
    assert result.exit_code == 0, result.output
    return read_bundle(folder / "ranges_bundle")


@needs_modelopt
def test_ranges_hold_all_but_the_rarest_values(
    tiny: Bundle, ranges_bundle: Bundle, calibration_set: CalibrationImages
) -> None:
    """An input's range is NumPy's percentile of what torch's hooks see on the same images, within a
    histogram bin. A weight's range is the greatest of the folded weights by channel."""
    network = deploy_network(tiny)
    seen: dict[str, list[np.ndarray]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.setdefault(name, []).append(inputs[0].abs().numpy().ravel())

        return hook

    layers = eight_bit_layers(network)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(watch(name))
    with torch.no_grad():
        for image in calibration_set.images:
            network(torch.from_numpy(image)[None])
    found = load_file(ranges_bundle.folder / RANGES)
    kinds = ("input", "weight", "bias")
    assert set(found) == {f"{name}.{what}" for name in layers for what in kinds}
    for name, layer in layers.items():
        values = np.concatenate(seen[name])
        bin_width = float(values.max()) / 1000
        wanted = float(np.percentile(values, 99.99, method="higher"))
        assert found[f"{name}.input"] == pytest.approx(wanted, abs=bin_width)
        weight = np.abs(layer.weight.detach().numpy()).max((1, 2, 3))
        wanted = np.where(weight > 0, weight, 1.0)
        np.testing.assert_allclose(found[f"{name}.weight"].ravel(), wanted, rtol=1e-6)


@needs_modelopt
def test_biases_restore_the_mean_that_rounding_changes(
    tiny: Bundle, ranges_bundle: Bundle, calibration_set: CalibrationImages
) -> None:
    """The first layer, with the same input in both, has the same mean output by channel in 8 bits
    and in single precision. Without the correction the means differ."""
    stored = load_file(ranges_bundle.folder / RANGES)
    ranges = {name: torch.from_numpy(value) for name, value in stored.items()}
    without = {name: value for name, value in ranges.items() if not name.endswith("bias")}
    first = next(iter(eight_bit_layers(deploy_network(tiny))))

    def mean_output(given: dict[str, Tensor]) -> np.ndarray:
        network = quantise(deploy_network(tiny), given)
        outputs: list[Tensor] = []
        network.get_submodule(first).register_forward_hook(lambda *call: outputs.append(call[2]))
        with torch.no_grad():
            for image in calibration_set.images:
                network(torch.from_numpy(image)[None])
        return torch.cat(outputs).mean((0, 2, 3)).numpy()

    single, corrected, plain = map(mean_output, ({}, ranges, without))
    np.testing.assert_allclose(corrected, single, atol=1e-5)
    assert np.abs(plain - single).max() > 1e-4


@needs_modelopt
def test_bundle_is_the_same_for_every_other_engine(tiny: Bundle, ranges_bundle: Bundle) -> None:
    """The bundle has one more file. Weights, tables, compiled form and figures are those of the
    source, and the manifest holds the measurements."""
    same = tiny.manifest.files.keys() - {CARD}
    assert {ranges_bundle.manifest.files[name] for name in same} == {
        tiny.manifest.files[name] for name in same
    }
    assert ranges_bundle.manifest.metrics == tiny.manifest.metrics
    assert ranges_bundle.precision == "f32"
    record = ranges_bundle.manifest.ranges
    assert record is not None
    assert (record.bundle_sha256, record.pictures) == (tiny.sha256, 6)
    assert record.method == "percentile 99.99"
    content = json.loads((ranges_bundle.folder.parent / "report.json").read_text())
    assert content["report"] == record.report
    assert set(record.report) == {"before", "after"}
    assert "not on a GPU" in (ranges_bundle.folder / CARD).read_text()
    assert [
        path.name for path in ranges_bundle.folder.parent.iterdir() if path.name[0] == "."
    ] == []
    with OpenVinoEngine(ranges_bundle.model) as engine:
        assert engine.input_size == (64, 64)


@needs_modelopt
def test_eight_bits_change_the_map_a_little(
    ranges_bundle: Bundle, calibration_set: CalibrationImages
) -> None:
    """The change is above 0 and below a tenth of the map's own variation."""
    single, eighth = deploy_network(ranges_bundle), eight_bit_network(ranges_bundle)
    with torch.no_grad():
        maps = [
            [network(torch.from_numpy(image)[None]).numpy() for image in calibration_set.images]
            for network in (single, eighth)
        ]
    difference = np.abs(np.subtract(*maps))
    assert 1e-3 < difference.mean() < 0.1 * np.std(maps[0])


@needs_modelopt
def test_ranking_puts_the_worst_run_first(
    tiny: Bundle, ranges_bundle: Bundle, calibration_set: CalibrationImages
) -> None:
    """Layers come in runs of four neighbours, in the order of the distances from the original map
    that remain when one run alone returns to FP32."""
    stored = load_file(ranges_bundle.folder / RANGES)
    names = list(eight_bit_layers(deploy_network(tiny)))[:8]
    ranges = {f"{name}.{what}": stored[f"{name}.{what}"] for name in names
              for what in ("weight", "input")}  # fmt: skip
    ranked = rank_layers(tiny, ranges, calibration_set.images[:1])
    assert sorted(ranked, key=lambda run: names.index(run[0])) == [names[:4], names[4:]]

    def compute_map(layers: Sequence[str]) -> np.ndarray:
        kept = {name: torch.from_numpy(np.asarray(value)) for name, value in ranges.items()
                if name.rpartition(".")[0] in layers}  # fmt: skip
        image = torch.from_numpy(calibration_set.images[0])[None]
        with torch.no_grad():
            network = quantise(deploy_network(tiny), kept)
            return network(image).logit().clip(-5, 5).numpy()

    original = compute_map([])
    left = [np.std(compute_map([n for n in names if n not in run]) - original) for run in ranked]
    assert left == sorted(left)
    assert left[0] > 0


class FakeLibrary:
    """Replaces the two calls that need TensorRT, and computes in torch; see `tests/gpu`."""

    def __init__(self) -> None:
        self.operators = 0

    def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
        targets = [str(node.target) for node in program.graph.nodes]
        self.operators = targets.count("tensorrt.quantize_op.default")
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        return buffer.getvalue()

    def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
        run: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(engine)).module()
        return run


@needs_modelopt
def test_engine_is_built_of_the_quantised_graph(
    tiny: Bundle,
    ranges_bundle: Bundle,
    calibration_set: CalibrationImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The graph has two operators per convolution and computes the scored network. The cache
    answers a second call, and a bundle without ranges has another key."""
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    cache, library = EngineCache("tensorrt"), FakeLibrary()
    key = engine_key(ranges_bundle, "f32", CPU)
    run_ = load_or_compile(ranges_bundle, "f32", key, cache, library, CPU)
    assert library.operators == 2 * len(eight_bit_layers(deploy_network(tiny)))
    image = torch.from_numpy(calibration_set.images[0])[None]
    with torch.no_grad():
        wanted = eight_bit_network(ranges_bundle)(image)
        torch.testing.assert_close(run_(image), wanted, atol=1e-4, rtol=0)
    again = FakeLibrary()
    load_or_compile(ranges_bundle, "f32", key, cache, again, CPU)
    assert again.operators == 0
    assert engine_key(tiny, "f32", CPU) != key


@needs_modelopt
def test_other_ranges_make_another_key(
    ranges_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache does not return an engine with older ranges for newer ones."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    folder = Path(shutil.copytree(ranges_bundle.folder, tmp_path / "bundle"))
    values = load_file(folder / RANGES)
    name = next(name for name in values if name.endswith("input"))
    save_file(values | {name: np.asarray(values[name] * 2)}, folder / RANGES)
    with pytest.raises(BundleHashError, match=r"ranges\.safetensors does not match"):
        read_bundle(folder)
    changed = write_manifest(folder, ranges_bundle.manifest)
    assert engine_key(changed, "f32", CPU) != engine_key(ranges_bundle, "f32", CPU)


@needs_modelopt
def test_ranges_stay_with_their_size(
    ranges_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of another input size gets no ranges. A manifest that names a missing ranges file
    raises an error."""

    def copy_model(path: Path, *_: object) -> None:
        for name in (MODEL, MODEL_WEIGHTS):
            shutil.copy(ranges_bundle.folder / name, path.with_name(name))

    monkeypatch.setattr(export, "write_model", copy_model)
    other = deploy.resize_bundle(ranges_bundle, tmp_path / "other", 96)
    assert (other.ranges, (other.folder / RANGES).exists()) == (None, False)
    folder = Path(shutil.copytree(ranges_bundle.folder, tmp_path / "bundle"))
    (folder / RANGES).unlink()
    with pytest.raises(BundleError, match=f"has no hash of {RANGES}"):
        write_manifest(folder, ranges_bundle.manifest)


@needs_modelopt
def test_loss_is_refused_and_nothing_written(
    tiny: Bundle,
    ranges_bundle: Bundle,
    truth_is_fp32: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges of a hundredth clip almost all values, so the loss is too large with any layers left
    out. The old bundle stays."""
    found = load_file(ranges_bundle.folder / RANGES)
    small = {name: np.asarray(value * np.float32(0.01)) for name, value in found.items()}
    monkeypatch.setattr(module, "ranges_of", lambda *_: small)
    monkeypatch.setattr(module, "RESTORED", (1,))
    monkeypatch.setattr(module, "rank_layers", lambda *_: [["network.encoder.stem.1"]])
    output = Path(shutil.copytree(tiny.folder, tmp_path / "there"))
    with pytest.raises(BundleError, match=r"INT8 loses [01]\.\d+ Dice on val, more than 0\.003"):
        run(tiny, output, truth_is_fp32)
    assert read_bundle(output).sha256 == tiny.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_impossible_requests_end_before_any_work(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An INT8 source, the bundle itself as the output, and a missing library raise errors. The last
    one names the command to install it."""
    int8 = read_bundle(find_bundle(SHIPPED_INT8))
    with pytest.raises(BundleError, match="is already INT8"):
        run(int8, tmp_path / "x", tmp_path)
    with pytest.raises(UsageError, match="is the bundle itself"):
        run(tiny, tiny.folder, tmp_path)
    monkeypatch.setattr(
        range_search, "find_spec", lambda name: None if name == "modelopt" else True
    )
    with pytest.raises(MissingExtraError, match=r"need nvidia-modelopt: pip install"):
        run(tiny, tmp_path / "x", tmp_path)


@pytest.mark.data
@needs_modelopt
def test_masks_of_real_frames_are_those_of_single_precision(real_frames: Sequence[Frame]) -> None:
    """On still frames of both data sets, the masks of the shipped network in 8 bits and in FP32
    have a high Dice. The ranges come from the moving frames."""
    bundle = read_bundle(find_bundle())
    prepare = Preprocessor((352, 352), "stretch")
    images = tuple(prepare(frame.pixels) for frame in real_frames)
    found = ranges_of(bundle, CalibrationImages(("a", "b"), images[1:5:3]))
    ranges = {name: torch.from_numpy(np.asarray(value)) for name, value in found.items()}
    networks = deploy_network(bundle), quantise(deploy_network(bundle), ranges)
    with torch.no_grad():
        masks = [
            np.stack([network(torch.from_numpy(i)[None])[0, 0].numpy() > 0.5 for i in images[3:]])
            for network in networks
        ]
    both = float(np.logical_and(*masks).sum())
    assert masks[0].mean() > 0.01
    assert 2 * both / float(masks[0].sum() + masks[1].sum()) >= MIN_DICE
