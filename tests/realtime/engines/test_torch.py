import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from qlumen.errors import BundleError, EngineError
from qlumen.networks.bundle import (
    MANIFEST,
    SHIPPED_INT8,
    WEIGHTS,
    Bundle,
    find_bundle,
    read_bundle,
    write_manifest,
)
from qlumen.networks.circuit import WEIGHTS_NAME
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines import torch as module
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.cuda import check_cuda
from qlumen.realtime.engines.torch import TorchEngine, TorchOptions, open_torch

from support.engine_contract import EngineContract, bundle, make_images


class TestTorch(EngineContract):
    name = "torch"

    @classmethod
    def open(cls) -> Engine:
        return TorchEngine(bundle(), TorchOptions(streams=2, requests=3))


class Small(nn.Module):
    """Maps input to output as a network does, in one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(image.float().permute(0, 3, 1, 2) / 255))


def copy_bundle(folder: Path) -> Path:
    for path in bundle().folder.iterdir():
        shutil.copy(path, folder / path.name)
    return folder


def without_torch_weights(folder: Path) -> Bundle:
    """Write a bundle that has only the circuit's weights, as a quantised bundle may."""
    given = read_bundle(copy_bundle(folder))
    weights = folder / WEIGHTS
    save_file({WEIGHTS_NAME: load_file(weights)[WEIGHTS_NAME]}, weights)
    return write_manifest(folder, given.manifest)


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
def test_compiled_network_gives_the_eager_one_s_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """`engine.compile` changes how the map is computed, not the map."""
    torch.manual_seed(0)
    small = Small().eval().requires_grad_(False)
    monkeypatch.setattr(module, "deploy_network", lambda *_: small)
    with TorchEngine(bundle(), TorchOptions(compile=True)) as engine:
        (image,) = make_images(engine, 1)
        with torch.no_grad():
            wanted = small(torch.from_numpy(image)[None])[0, 0].numpy()
        np.testing.assert_allclose(engine.infer(image), wanted, atol=1e-5)
        assert engine.describe()["compile"] is True


def test_quantised_bundle_says_what_runs_it(tmp_path: Path) -> None:
    """The error names OpenVINO, because torch has no weights to build the network.

    It does so whether the bundle says this or not.
    """
    with pytest.raises(BundleError, match=r"without the trained weights.*engine\.name=openvino"):
        deploy_network(read_bundle(find_bundle(SHIPPED_INT8)))
    with pytest.raises(BundleError, match=r"do not fit.*engine\.name=openvino"):
        deploy_network(without_torch_weights(tmp_path))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """Weights that do not fit the stages in the manifest are an error of one line."""
    given = read_bundle(copy_bundle(tmp_path))
    network = given.manifest.network | {"decoder_channels": [96, 56, 40, 24]}
    changed = given.manifest.model_copy(update={"network": network})
    with pytest.raises(BundleError, match="size mismatch") as error:
        deploy_network(write_manifest(tmp_path, changed))
    assert "\n" not in str(error.value)
    assert (tmp_path / MANIFEST).exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_here_is_named() -> None:
    """The error names the device that was asked for and the number of devices."""
    with pytest.raises(EngineError, match=r"finds 0 CUDA devices, not number 1"):
        check_cuda("cuda:1")
    with pytest.raises(EngineError, match=r"set engine\.device=cpu"):
        open_torch(bundle(), EngineSettings(device="cuda", streams=1))


def test_half_precision_keeps_the_circuit_single() -> None:
    """Convolutions are bf16, tables and output f32, and the map is close to the f32 map."""
    half, single = deploy_network(bundle(), "bf16"), deploy_network(bundle(), "f32")
    types = {name: value.dtype for name, value in half.state_dict().items()}
    tables = [name for name in types if name.endswith("table")]
    assert len(tables) == 1
    assert types[tables[0]] is torch.float32
    assert {types[name] for name in types if name not in tables} == {torch.bfloat16}
    width = bundle().manifest.input.width
    image = torch.full((1, width, width, 3), 128, dtype=torch.uint8)
    assert half(image).dtype is torch.float32
    assert (half(image) - single(image)).abs().max() < 0.1
