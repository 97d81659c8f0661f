"""Imports networks of other makers and compares them with the networks themselves."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from qlumen.calibration.import_command import command
from qlumen.calibration.import_job import import_network
from qlumen.errors import UsageError
from qlumen.networks.bundle import CARD, WEIGHTS, read_bundle
from qlumen.networks.foreign.description import Facts, parse_normalisation
from qlumen.realtime.engines.openvino import OpenVinoEngine

from support.foreign import (
    ANSWERS,
    HEIGHT,
    WIDTH,
    add_activation,
    make_small,
    write_onnx,
)

SIZE = (WIDTH, HEIGHT)
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
CLOSE = 2e-5


def run_bundle(folder: Path, image: NDArray[np.uint8] = IMAGE) -> NDArray[np.float32]:
    with OpenVinoEngine(read_bundle(folder).model) as engine:
        return engine.infer(image)


def run_torch(network: nn.Module, values: NDArray[np.float32]) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(np.ascontiguousarray(values)))


def imagenet(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Prepare an image by OpenCV and the numbers that torchvision's documentation gives."""
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    values = (rgb - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return values.transpose(2, 0, 1)[None]


def test_onnx_draws_what_the_network_gives(small_onnx: Path, tmp_path: Path) -> None:
    """The bundle of an ONNX file computes sigmoid(network(normalised RGB)) of BGR bytes."""
    record = import_network(small_onnx, tmp_path / "bundle", ANSWERS, "mine")
    wanted = torch.sigmoid(run_torch(make_small(), imagenet(IMAGE)))[0, 0].numpy()
    np.testing.assert_allclose(run_bundle(tmp_path / "bundle"), wanted, atol=CLOSE)
    assert 0.1 < (wanted > 0.5).mean() < 0.9
    assert record.parity["differing_share"] <= 1e-4
    assert record.source == "small.onnx"


@pytest.mark.parametrize(
    ("operator", "classes", "attributes"),
    [("Sigmoid", 1, {}), ("Softmax", 3, {"axis": 1}), ("ArgMax", 3, {"axis": 1, "keepdims": 1})],
)
def test_a_file_says_its_activation(
    operator: str, classes: int, attributes: dict[str, Any], tmp_path: Path
) -> None:
    """An output of Sigmoid, Softmax or ArgMax is known to hold probabilities or labels."""
    network = make_small(classes)
    path = write_onnx(network, tmp_path / "model.onnx", 1, 3, HEIGHT, WIDTH)
    add_activation(path, operator, **attributes)
    number = classes - 1
    answers = ANSWERS.model_copy(update={"activation": None, "target": ("polyp", number)})
    import_network(path, tmp_path / "bundle", answers, "mine")
    logits = run_torch(network, imagenet(IMAGE))
    wanted = {
        "Sigmoid": torch.sigmoid(logits)[0, number],
        "Softmax": torch.softmax(logits, 1)[0, number],
        "ArgMax": (logits.argmax(1)[0] == number).float(),
    }[operator].numpy()
    np.testing.assert_allclose(run_bundle(tmp_path / "bundle"), wanted, atol=CLOSE)


@pytest.mark.parametrize(
    ("channels", "normalise"),
    [("rgb", "unit"), ("bgr", "image"), ("grey", "image"), ("grey", "unit"), ("bgr", "127.5/64")],
)
def test_preparation(channels: str, normalise: str, tmp_path: Path) -> None:
    """Channel order and normalisation in the graph are those of OpenCV and numpy."""
    codes = {"rgb": cv2.COLOR_BGR2RGB, "grey": cv2.COLOR_BGR2GRAY}
    image = cv2.cvtColor(IMAGE, codes[channels]) if channels in codes else IMAGE
    values = image.reshape(HEIGHT, WIDTH, -1).astype(np.float64)
    count = values.shape[2]
    prepared = {
        "unit": values / 255,
        "image": (values - values.mean((0, 1))) / values.std((0, 1)),
        "127.5/64": (values - 127.5) / 64,
    }[normalise]
    network = make_small(2, count, channels_last=True)
    path = write_onnx(network, tmp_path / "a model, 2.onnx", 1, HEIGHT, WIDTH, count)
    answers = Facts(
        channels=channels, normalise=normalise, fit="letterbox", activation="softmax",
        target=("lesion", 0), licence="none",
    )  # fmt: skip
    import_network(path, tmp_path / "bundle", answers, "mine")
    logits = run_torch(network, prepared[None].astype(np.float32))
    wanted = torch.softmax(logits, 3)[0, ..., 0].numpy()
    # OpenCV rounds grey to whole numbers.
    atol = 0.05 if channels == "grey" else CLOSE
    np.testing.assert_allclose(run_bundle(tmp_path / "bundle"), wanted, atol=atol)
    assert read_bundle(tmp_path / "bundle").manifest.input.fit == "letterbox"


def test_torch_export(tmp_path: Path) -> None:
    """A program of torch.export becomes a bundle that keeps its weights as they came."""
    network = make_small()
    program = torch.export.export(network, (torch.zeros(1, 3, HEIGHT, WIDTH),), strict=False)
    torch.export.save(program, tmp_path / "small.pt2")
    import_network(tmp_path / "small.pt2", tmp_path / "bundle", ANSWERS, "mine")
    wanted = torch.sigmoid(run_torch(network, imagenet(IMAGE)))[0, 0].numpy()
    np.testing.assert_allclose(run_bundle(tmp_path / "bundle"), wanted, atol=CLOSE)
    assert (tmp_path / "bundle" / WEIGHTS).is_file()


def test_the_file_is_asked_before_the_user(small_onnx: Path, tmp_path: Path) -> None:
    """What a file does not say is asked for at once, with what was seen and the options."""
    with pytest.raises(UsageError) as caught:
        import_network(small_onnx, tmp_path / "bundle", Facts(fit="stretch"), "mine")
    text = str(caught.value)
    for wanted in ("x 1x3x48x64 float", "y 1x1x24x32 float of Conv", "--channels", "--normalise",
                   "--activation", "--licence"):  # fmt: skip
        assert wanted in text
    assert "--fit" not in text
    assert "--size" not in text


def test_classes_are_asked_for(tmp_path: Path) -> None:
    """A map of several classes without names needs the number of the polyp."""
    path = write_onnx(make_small(3), tmp_path / "model.onnx", 1, 3, HEIGHT, WIDTH)
    with pytest.raises(UsageError, match=r"3 classes .* --class polyp=NUMBER"):
        import_network(path, tmp_path / "bundle", ANSWERS, "mine")


def test_logits_are_no_probabilities(small_onnx: Path, tmp_path: Path) -> None:
    """Logits that are said to be probabilities are found out while they run."""
    answers = ANSWERS.model_copy(update={"activation": "none"})
    with pytest.raises(UsageError, match="holds no probabilities"):
        import_network(small_onnx, tmp_path / "bundle", answers, "mine")


def test_command(small_onnx: Path, tmp_path: Path) -> None:
    """The command imports in a process of its own, and the card tells origin and licence."""
    licence = tmp_path / "LICENCE"
    licence.write_text("Free for all.\n")
    output = tmp_path / "bundle"
    import_network(small_onnx, output, ANSWERS, "earlier")
    done = CliRunner().invoke(
        command,
        [str(small_onnx), "--output", str(output), "--channels", "bgr", "--normalise", "none",
         "--fit", "stretch", "--activation", "sigmoid", "--licence", str(licence),
         "--class", "adenoma=0"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    card = (output / CARD).read_text()
    for wanted in ("small.onnx", "Free for all.", "`adenoma`", "## Parity", "bgr"):
        assert wanted in card
    manifest = read_bundle(output).manifest
    assert manifest.imported is not None
    assert manifest.imported.drawn_class == ("adenoma", 0)
    assert manifest.input.mean == (0, 0, 0)


@given(st.lists(st.floats(-300, 300), min_size=3, max_size=3),
       st.lists(st.floats(1e-3, 300), min_size=3, max_size=3))  # fmt: skip
@settings(max_examples=30)
def test_normalisation_is_read_as_written(mean: list[float], std: list[float]) -> None:
    """Mean and deviation of each channel come back as they were written."""
    text = "/".join(",".join(map(repr, part)) for part in (mean, std))
    assert parse_normalisation(Facts(channels="rgb", normalise=text)) == (tuple(mean), tuple(std))


@pytest.mark.parametrize("text", ["", "1", "0/0", "1,2/3", "nan/1", "a/b", "1/2/3", "0/-1"])
def test_wrong_normalisations_are_refused(text: str) -> None:
    """A normalisation that cannot be computed is refused with the forms that can."""
    with pytest.raises(UsageError, match="MEAN/STD"):
        parse_normalisation(Facts(channels="rgb", normalise=text))
