import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from qlumen.calibration import export as module
from qlumen.calibration.export import compare, export, write_openvino
from qlumen.errors import EngineError, QlumenError
from qlumen.networks.bundle import MODEL, Bundle
from qlumen.networks.identity import NETWORK_KEY, network_sha256
from qlumen.networks.openvino import ops, ov
from qlumen.realtime.cli import commands
from qlumen.realtime.engines.openvino import OpenVinoEngine

from support.engine_contract import bundle, scene, torch_form


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["export", *arguments], standalone_mode=False)


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use two frames, which are enough for a comparison."""
    monkeypatch.setattr(module, "scene_frames", lambda: scene()[:2])


@pytest.mark.parametrize("format_", ["openvino", "torch-export", "onnx", "tensorrt-rtx"])
def test_written_file_is_the_network(tmp_path: Path, format_: str) -> None:
    """The file passes its own comparison, and the folder holds nothing else."""
    if format_ == "tensorrt-rtx":
        pytest.importorskip("tensorrt_rtx_bindings", reason="pip install 'qlumen[rtx]'")
    suffix = module.SUFFIXES[format_]
    result = run("--format", format_, "--output", str(tmp_path / f"n{suffix}"))
    assert result.exception is None
    assert "of the pixels" in result.output
    wanted = {f"n{suffix}"} | ({"n.bin"} if format_ == "openvino" else set())
    assert {path.name for path in tmp_path.iterdir()} == wanted


def test_openvino_file_names_its_network_and_draws_its_map(tmp_path: Path) -> None:
    """The file names its network and gives the masks of the torch weights."""
    path = tmp_path / "n.xml"
    write_openvino(bundle(), path)
    assert ov.Core().read_model(path).get_rt_info(NETWORK_KEY).value == network_sha256(bundle())
    with OpenVinoEngine(path) as engine:
        parity = compare(bundle(), scene()[:2], torch_form(), engine.infer)
    assert parity.differing_share <= 1e-4


def test_file_that_draws_other_masks_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that draws other masks does not replace the old file."""
    output = tmp_path / "n.xml"
    output.write_text("older")

    def write_inverted(given: Bundle, format_: str, path: Path, precision: str) -> None:
        model = ov.Core().read_model(given.model)
        (result,) = model.get_results()
        source = result.input(0).get_source_output()
        result.input(0).replace_source_output(
            ops.subtract(ops.constant(np.float32(1)), source).output(0)
        )
        ov.save_model(model, path, compress_to_fp16=False)

    monkeypatch.setattr(module, "_write", write_inverted)
    with pytest.raises(EngineError, match=r"differs from the bundle's.*is not written"):
        export(bundle(), "openvino", output)
    assert output.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["n.xml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onnx", "--output", "{}/n.xml"], "give it the ending .onnx"),
        (["--format", "openvino", "--output", "{}/n.onnx"], "give it the ending .xml"),
        (["--format", "onnx", "--output", "{}/absent/n.onnx"], "there is no folder"),
        (["--format", "onnx", "--output", "{}/there.onnx"], "there.onnx exists; use --force"),
        (["--format", "openvino", "--output", "{}/there.xml"], "there.bin exists"),
        (["--format", "openvino", "--precision", "f16", "--output", "{}/n.xml"],
         "not for openvino"),
    ],
)  # fmt: skip
def test_wrong_outputs_are_refused_before_any_work(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """The error says what to do, and existing files stay."""
    for name in ("there.onnx", "there.bin"):
        (tmp_path / name).write_text("mine")
    result = run(*(argument.format(tmp_path) for argument in arguments))
    assert isinstance(result.exception, QlumenError)
    assert result.exception.exit_code == 2
    assert message in str(result.exception)
    assert (tmp_path / "there.onnx").read_text() == "mine"


def test_bundle_s_own_file_is_never_the_output(tmp_path: Path) -> None:
    """The export does not replace a bundle's file, not even with --force."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle().folder, folder)
    before = (folder / MODEL).read_bytes()
    result = run(
        "--format", "openvino", "--force", "--bundle", str(folder), "--output", str(folder / MODEL)
    )
    assert "is the input itself" in str(result.exception)
    assert (folder / MODEL).read_bytes() == before
