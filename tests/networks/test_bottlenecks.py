from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from qlumen.networks.bottlenecks import (
    BOTTLENECKS,
    BottleneckConfig,
    bottleneck_name,
    interpolation,
    make_bottleneck,
    pooling,
)
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.modules import FrozenGrid

CHANNELS = 20


def build(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return make_bottleneck(BottleneckConfig(name, **options), CHANNELS)


@pytest.mark.parametrize("size", [(8, 8), (11, 11), (3, 5)])
@pytest.mark.parametrize("name", BOTTLENECKS)
def test_shape_stays_and_all_parameters_learn(name: str, size: tuple[int, int]) -> None:
    """A map keeps its size, and a gradient reaches every parameter."""
    bottleneck = build(name)
    x = torch.randn(2, CHANNELS, *size)
    y = bottleneck(x)
    assert y.shape == x.shape
    y.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in bottleneck.parameters())


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_closed_gate_leaves_the_map(name: str) -> None:
    """With the gate at zero, the bottleneck changes nothing."""
    bottleneck = build(name)
    with torch.no_grad():
        bottleneck.gate.zero_()
    x = torch.randn(1, CHANNELS, 8, 8)
    torch.testing.assert_close(bottleneck(x), x, rtol=0, atol=0)


@given(st.integers(2, 8), st.integers(1, 6))
def test_classical_core_has_the_parameters_of_the_circuit(qubits: int, layers: int) -> None:
    """The parameters of the two cores agree within 5%; the projections are the same anyway."""
    config = BottleneckConfig("vqc", qubits, layers)
    quantum = make_bottleneck(config, CHANNELS)
    classical = make_bottleneck(replace(config, name="classical"), CHANNELS)
    count = sum(p.numel() for p in classical.core.parameters())
    assert abs(count / quantum.core.weights.numel() - 1) <= 0.05


@pytest.mark.parametrize("name", ["vqc", "classical", "identity"])
def test_projections_and_gate_are_the_same(name: str) -> None:
    """The parts around the core have the same names and shapes, so weights can be exchanged."""

    def outer_shapes(name: str) -> dict[str, torch.Size]:
        state = build(name).state_dict()
        return {key: value.shape for key, value in state.items() if not key.startswith("core")}

    assert outer_shapes(name) == outer_shapes("vqc")


def test_names_in_the_state_of_the_vqc() -> None:
    """The trained weights of the first release load under these names."""
    assert set(build("vqc").state_dict()) == {
        "gate",
        "project.weight",
        "project.bias",
        "core.weights",
        "back.weight",
        "back.bias",
    }


@pytest.mark.parametrize(("h", "w"), [(8, 8), (11, 11), (4, 4), (3, 7)])
def test_pooling_is_the_adaptive_average(h: int, w: int) -> None:
    """The fixed matrices do what torch's adaptive pooling does."""
    x = torch.randn(2, 3, h, w, dtype=torch.float64)
    ours = pooling(h, 4).double() @ x @ pooling(w, 4).double().T
    torch.testing.assert_close(ours, F.adaptive_avg_pool2d(x, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [4, 8, 11])
def test_interpolation_is_bilinear(size: int) -> None:
    """The fixed matrices do what torch's bilinear interpolation does."""
    x = torch.randn(1, 2, 4, 4)
    ours = interpolation(4, size) @ x @ interpolation(4, size).T
    wanted = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_fixed_size_makes_no_tensor_at_a_call() -> None:
    """With the matrices in buffers, the results and the weights are the same bit for bit, and no
    operation makes a tensor on the CPU, which a CUDA graph cannot capture."""

    class Made(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.device.type == "cpu":
                names.append(func.name())
            return result

    names: list[str] = []
    bottleneck = build("hqconv")
    bottleneck.core = FrozenGrid(torch.randn(256, 12), torch.randn(256, 8), 4)
    x, weights = torch.randn(2, CHANNELS, 11, 7), set(bottleneck.state_dict())
    with torch.no_grad():
        wanted = bottleneck(x)
        bottleneck.fix_size(11, 7)
        assert torch.equal(bottleneck(x), wanted)
        assert bottleneck(x[..., :5]).shape == (2, CHANNELS, 11, 5)
        assert set(bottleneck.state_dict()) == weights
        bottleneck, x = bottleneck.to("meta"), x.to("meta")
        with Made():
            bottleneck(x)
    assert names == []


def test_cell_of_the_grid_turns_its_own_qubit() -> None:
    """Each cell's three channels reach the circuit as the angles of that cell's qubit."""
    seen = []

    class Recorder(nn.Module):
        def forward(self, angles: torch.Tensor) -> torch.Tensor:
            seen.append(angles.detach().numpy())
            return torch.zeros(len(angles), 32)

    bottleneck = build("hqconv")
    bottleneck.core = Recorder()
    x = torch.randn(1, CHANNELS, 4, 4)
    bottleneck(x)
    wanted = np.pi * np.tanh(bottleneck.project(x).detach().numpy())
    np.testing.assert_allclose(seen[0].reshape(4, 4, 3), wanted[0].transpose(1, 2, 0), atol=1e-5)


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_network_takes_each_bottleneck_by_its_configuration(name: str) -> None:
    """A U-Net with any of the four bottlenecks gives a logit map of the same size."""
    network = UNet(NetworkConfig(bottleneck=BottleneckConfig(name, layers=1))).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 32, 32)


def test_unknown_name_is_refused() -> None:
    """The message lists the known names."""
    with pytest.raises(ValueError, match="'gru' is unknown; use one of: vqc, hqconv, classical"):
        build("gru")


def test_names_of_bundles() -> None:
    """The number counts features; hqconv has no number, since it always has sixteen qubits."""
    assert bottleneck_name(BottleneckConfig("vqc", 6)) == "vqc6"
    assert bottleneck_name(BottleneckConfig("hqconv")) == "hqconv"
