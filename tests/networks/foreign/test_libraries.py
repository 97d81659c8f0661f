"""Imports networks of segmentation_models.pytorch, nnU-Net, MONAI and Ultralytics' layout.

They are built and stored by `bench/support/foreign_networks.py`, untrained.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qlumen.calibration.import_command import command
from qlumen.calibration.import_job import import_network
from qlumen.errors import BundleError, QlumenError, UsageError
from qlumen.networks.bundle import CARD, read_bundle
from qlumen.networks.foreign.description import Facts, complete
from qlumen.networks.foreign.read import read_foreign
from qlumen.networks.foreign.steps import ReadBoxes
from qlumen.networks.openvino import ov
from qlumen.realtime.engines.openvino import OpenVinoEngine

networks = pytest.importorskip("support.foreign_networks", exc_type=ImportError)
CASES, HEIGHT, WIDTH = networks.CASES, networks.HEIGHT, networks.WIDTH
IMAGE = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
SHOWN = ("smp FPN, EfficientNet-Lite2", "nnU-Net, ResidualEncoderUNet", "MONAI UNet",
         "plain ONNX, channels last")  # fmt: skip


@cache
def build(name: str, score: float | None) -> Any:
    """Build an untrained network, with `score` as the bias of its boxes' scores."""
    torch.manual_seed(0)
    network = CASES[name].build().eval()
    if score is not None:
        with torch.no_grad():
            network.head.bias[4] = score
    return network


def make(name: str, folder: Path, score: float | None = None) -> tuple[Any, Any, Path]:
    """Return a case, its network, and where it is stored."""
    network = build(name, score)
    folder.mkdir()
    return CASES[name], network, CASES[name].store(network, folder)


def facts_of(case: Any) -> Facts:
    """Return the answers that the options of a case stand for."""
    context = command.make_context("import", ["MODEL", "--output", "x", *case.options])
    given = {k: v for k, v in context.params.items() if v is not None}
    known = {key: given[key] for key in Facts.model_fields if key in given}
    return Facts(**known).updated(Facts(licence="none"))


@pytest.mark.parametrize("name", SHOWN)
def test_library(name: str, tmp_path: Path) -> None:
    """The bundle gives what the library's own network gives for its own preparation."""
    case, network, path = make(name, tmp_path / "model")
    import_network(path, tmp_path / "bundle", facts_of(case), "mine")
    rgb = torch.from_numpy(IMAGE[..., ::-1].transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        logits = network(case.prepare(rgb))
    if case.family == "monai":
        logits = logits.transpose(2, 3)
    if case.family == "onnx":  # the network itself ends in a softmax
        wanted = logits[:, 1]
    else:
        one = logits.shape[1] == 1
        wanted = torch.sigmoid(logits[:, 0]) if one else torch.softmax(logits, 1)[:, 1]
    with OpenVinoEngine(read_bundle(tmp_path / "bundle").model) as engine:
        found = engine.infer(IMAGE)
    np.testing.assert_allclose(found, wanted[0].numpy(), atol=1e-4)
    assert (tmp_path / "bundle" / CARD).read_text().count("\n- ") >= 1


def test_nnunet_card_tells_what_is_left_out(tmp_path: Path) -> None:
    """The description of nnU-Net's network names resampling and tiles."""
    case, _, path = make("nnU-Net, PlainConvUNet", tmp_path / "model")
    foreign = read_foreign(path / "fold_0", facts_of(case))
    assert foreign.facts.size == (WIDTH, HEIGHT)
    assert foreign.facts.normalise == "unit"
    assert foreign.classes == {0: "background", 1: "polyp"}
    assert any("tiles" in one for one in foreign.left_out)


def read_boxes(boxes: np.ndarray, prototypes: np.ndarray, chosen: bool) -> np.ndarray:
    """Return where the map of the layout is above one half, in torch and in OpenVINO."""
    reading = ReadBoxes(
        Facts(size=(32, 32), target=("polyp", 0)), (boxes.shape, prototypes.shape), chosen
    )
    tensors = (torch.from_numpy(boxes), torch.from_numpy(prototypes))
    found: np.ndarray = reading(*tensors)[0, 0].numpy() > 0
    program = torch.export.export(reading, tensors, strict=False)
    model = ov.compile_model(ov.convert_model(program), "CPU")
    np.testing.assert_array_equal(model([boxes, prototypes])[0][0, 0] > 0, found)
    return found


def test_ultralytics_layout() -> None:
    """The map is above one half where a box of a score above a quarter has a mask above one half.

    The case is worked by hand: of four boxes one has a low score, one a negative mask.
    """
    prototypes = np.zeros((1, 2, 8, 8), np.float32)
    prototypes[0, 0] = 4
    prototypes[0, 1, :4] = 4
    boxes = np.zeros((1, 7, 5), np.float32)
    boxes[0, :, 0] = [8, 8, 8, 8, 0.9, 1, 0]  # x 4..12, all of it
    boxes[0, :, 1] = [24, 16, 8, 32, 0.6, -1, 2]  # x 20..28, above the middle
    boxes[0, :, 2] = [16, 28, 32, 8, 0.2, 1, 0]  # a low score
    boxes[0, :, 3] = [16, 28, 32, 8, 0.9, -1, 0]  # a negative mask
    wanted = np.zeros((8, 8), bool)
    wanted[1:3, 1:3] = True
    wanted[0:4, 5:7] = True
    np.testing.assert_array_equal(read_boxes(boxes, prototypes, False), wanted)
    chosen = np.zeros((1, 300, 8), np.float32)
    chosen[0, 0] = [4, 4, 12, 12, 0.9, 0, 1, 0]
    chosen[0, 1] = [20, 0, 28, 32, 0.6, 0, -1, 2]
    chosen[0, 2] = [0, 0, 32, 32, 0.9, 1, 1, 0]  # another class
    np.testing.assert_array_equal(read_boxes(chosen, prototypes, True), wanted)


def test_ultralytics_file(tmp_path: Path) -> None:
    """An export says its names, channels, scale and resize in its metadata and layout."""
    name = "ONNX in Ultralytics' -seg layout"
    case, _, path = make(name, tmp_path / "model", score=-3.0)
    answers = facts_of(case).model_copy(update={"fit": None})
    foreign = read_foreign(path, answers)
    facts = complete(foreign, answers)
    assert (foreign.kind, facts.fit, facts.channels, facts.normalise) == (
        "ultralytics", "letterbox", "rgb", "unit",
    )  # fmt: skip
    record = import_network(path, tmp_path / "bundle", answers, "mine")
    assert record.drawn_class == ("polyp", 0)
    assert record.parity["differing_share"] <= 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "Nothing"}, "architecture 'Nothing'"),
        ({"encoder": "tu-hf-hub:someone/something"}, "encoder"),
        ({"encoder": "resnet18"}, "cannot be imported"),
    ],
)
def test_smp_refuses(change: dict[str, str], message: str, tmp_path: Path) -> None:
    """Names that smp does not know, or would look up on the network, are refused."""
    case, _, path = make("smp FPN, EfficientNet-Lite2", tmp_path / "model")
    facts = facts_of(case).updated(Facts(**change))
    with pytest.raises(QlumenError, match=message):
        import_network(path, tmp_path / "bundle", facts, "mine")


def test_smp_asks_for_its_names(tmp_path: Path) -> None:
    """A state_dict alone does not name its architecture."""
    _, _, path = make("smp Unet, EfficientNet-Lite1", tmp_path / "model")
    with pytest.raises(UsageError, match="--architecture"):
        read_foreign(path, Facts())


def check_refused(
    name: str, file: str, change: tuple[str, str], message: str, folder: Path
) -> None:
    """Check that a network is refused after a change of the text in one of its files."""
    case, _, path = make(name, folder / "model")
    text = (path / file).read_text()
    assert change[0] in text
    (path / file).write_text(text.replace(*change))
    with pytest.raises(BundleError, match=message):
        import_network(path, folder / "bundle", facts_of(case), "mine")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"UNet"', "\"$__import__('os').system('true')\"", "expression"),
        ('"UNet"', '"subprocess.Popen"', "none of the networks"),
        ('"out_channels": 2', '"out_channels": "$1+1"', "expression"),
        ('"out_channels": 2', '"out_channels": "@preprocessing"', "expression"),
        ('"out_channels": 2', '"act": {"_target_": "os.system"}', "inside of another"),
        ('"spatial_dims": 2', '"spatial_dims": 3', "2-D"),
        ('"num_res_units": 1', '"num_res_units": "many"', "cannot be imported"),
    ],
)
def test_monai_runs_nothing(old: str, new: str, message: str, tmp_path: Path) -> None:
    """Expressions and classes outside of the list are refused."""
    check_refused("MONAI UNet", "configs/inference.json", (old, new), message, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unet.PlainConvUNet", "unet.__builtins__", "none of"),
        ("dynamic_network_architectures.architectures.unet.PlainConvUNet", "os.system", "none of"),
        ("torch.nn.modules.conv.Conv2d", "os.system", "layer"),
        ('"n_stages": 5', '"n_stages": 5000000', "too many"),
        ('"2d"', '"3d_fullres"', "KeyError: '2d'"),
        ('"patch_size": [96, 128]', '"patch_size": "none"', "cannot be imported"),
    ],
)
def test_nnunet_runs_nothing(old: str, new: str, message: str, tmp_path: Path) -> None:
    """Networks and layers outside of the lists are refused, and so are other plans."""
    check_refused("nnU-Net, PlainConvUNet", "plans.json", (old, new), message, tmp_path)
