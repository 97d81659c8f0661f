"""Compares 8-bit convolutions with the fake quantisation of torch and modelopt."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from qlumen.errors import BundleError, EngineError
from qlumen.networks.deploy import export_program
from qlumen.networks.eightbit import (
    HIGHEST,
    LOWEST,
    EightBitConvolution,
    Quantiser,
    define_operator,
    eight_bit_layers,
    eight_bit_network,
    quantise,
    read_ranges,
    round_to_range,
)

from support.engine_contract import bundle

values = hnp.arrays(np.float32, (2, 3), elements=st.floats(-20, 20, width=32))


class Network(nn.Module):
    """Holds the parts whose names matter: an encoder, a bottleneck, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, groups=1), nn.ReLU())
        self.bottleneck = nn.Conv2d(4, 4, 1)
        self.head = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.float().permute(0, 3, 1, 2) / 255
        result: torch.Tensor = self.head(self.bottleneck(self.encoder(x)))
        return result


def ranges_for(network: nn.Module) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in eight_bit_layers(network).items():
        found[f"{name}.input"] = torch.tensor(1.0)
        found[f"{name}.weight"] = layer.weight.detach().abs().amax((1, 2, 3), keepdim=True)
    return found


@given(values, st.floats(0.125, 16, width=32))
def test_quantiser_rounds_as_torch_does(x: np.ndarray, range_: float) -> None:
    """One range for all values gives 256 steps of a 127th of it, and keeps zero exactly."""
    given_ = torch.from_numpy(x)
    got = round_to_range(given_, torch.tensor(range_))
    wanted = Quantiser(torch.tensor(range_))(given_)  # torch's fake quantisation
    scale = float(torch.tensor(range_) / HIGHEST)
    # Both may round a value that lies between two steps either way.
    torch.testing.assert_close(got, wanted, atol=1.001 * scale, rtol=0)
    between = (given_ / scale).frac().abs()
    clear = (between - 0.5).abs() > 1e-3
    torch.testing.assert_close(got[clear], wanted[clear], atol=1e-5 * range_, rtol=1e-5)
    assert torch.all(round_to_range(torch.zeros(2), torch.tensor(range_)) == 0)


def test_weights_have_a_range_per_channel() -> None:
    """Weights are rounded to steps of their channel."""
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 3, 3) * torch.arange(1, 6)[:, None, None, None]
    range_ = weight.abs().amax((1, 2, 3), keepdim=True)
    wanted = round_to_range(weight, range_)
    torch.testing.assert_close(Quantiser(range_)(weight), wanted, atol=1e-6, rtol=1e-6)


def test_quantiser_is_modelopt_s() -> None:
    """NVIDIA's library computes the same with the same range, in single and half precision."""
    nn_ = pytest.importorskip("modelopt.torch.quantization.nn")
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float16):
        x = (3 * torch.randn(1000)).to(dtype)
        theirs = nn_.TensorQuantizer(amax=torch.tensor(6.0))(x)
        ours = Quantiser(torch.tensor(6.0))(x)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_encoder_is_quantised_and_nothing_else() -> None:
    """An encoder convolution computes with rounded input and weight, and its own bias and shape.

    Bottleneck and head stay unchanged.
    """
    torch.manual_seed(0)
    network = Network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    convolution = network.encoder[0]
    ranges = ranges_for(network)
    quantise(network, ranges)
    changed = network.encoder[0]
    assert isinstance(changed, EightBitConvolution)
    assert isinstance(network.bottleneck, nn.Conv2d)
    assert isinstance(network.head, nn.Conv2d)
    x = torch.rand(1, 3, 8, 8)
    scale = float(1 / HIGHEST)
    wanted = nn.functional.conv2d(
        torch.fake_quantize_per_tensor_affine(x, scale, 0, LOWEST, HIGHEST),
        Quantiser(ranges["encoder.0.weight"])(before["encoder.0.weight"]),
        before["encoder.0.bias"],
        padding=1,
    )
    torch.testing.assert_close(changed(x), wanted, atol=1e-5, rtol=1e-5)
    assert (changed(x) - convolution(x)).abs().max() > 1e-4


def test_exported_graph_has_the_operator_before_each_convolution() -> None:
    """Torch-TensorRT's operator, with the stored ranges, feeds quantised convolutions only.

    The exported graph computes the same as `Quantiser`.
    """
    pytest.importorskip("modelopt")
    define_operator()
    network = Network().eval()
    copied, ranges = deepcopy(network), ranges_for(network)
    program = export_program(quantise(network, ranges, operators=True), (8, 8))
    convolutions = [n for n in program.graph.nodes if "conv2d" in str(n.target)]
    fed = [[str(source.target) for source in node.args[:2]] for node in convolutions]
    operator = "tensorrt.quantize_op.default"
    assert fed[0] == [operator, operator]
    assert operator not in (fed[1] + fed[2])
    called = [n for n in program.graph.nodes if str(n.target) == operator]
    assert [tuple(n.args[2:]) for n in called] == [(8, 0, False, False)] * 2
    buffers = program.state_dict
    stored = sorted(name for name in buffers if name.endswith(".range"))
    assert stored == ["encoder.0.input.range", "encoder.0.weight.range"]
    assert torch.equal(buffers["encoder.0.weight.range"], ranges["encoder.0.weight"])
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    with torch.no_grad():
        same = quantise(copied, ranges)(image)
        torch.testing.assert_close(program.module()(image), same, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.0.weight", torch.ones(4), r"is \(4,\).*want \(4, 1, 1, 1\)"),
        ("encoder.0.input", torch.tensor(1.0, dtype=torch.float16), r"float16; want \(\)"),
        ("encoder.0.input", torch.tensor(0.0), "use finite, above 0"),
        ("encoder.0.input", torch.tensor(float("nan")), "use finite, above 0"),
        ("encoder.0.input", torch.tensor(float("inf")), "use finite, above 0"),
        ("encoder.0.bias", torch.zeros(3), r"is \(3,\).*want \(4,\)"),
        ("encoder.0.bias", torch.full((4,), float("nan")), "both must be finite"),
        ("encoder.9.bias", torch.zeros(4), "not for its network: encoder.9"),
        ("encoder.9.input", torch.tensor(1.0), "not for its network: encoder.9.input"),
    ],
)
def test_wrong_ranges_are_refused(name: str, value: torch.Tensor, message: str) -> None:
    """Values of another shape, dtype or network are refused, and ranges without a size."""
    network = Network().eval()
    with pytest.raises(BundleError, match=message):
        quantise(network, ranges_for(network) | {name: value})


def test_bundle_without_ranges_names_the_command() -> None:
    """The shipped bundle has no ranges, and the message names the command that makes them."""
    with pytest.raises(BundleError, match="calibrate int8 --for tensorrt"):
        read_ranges(bundle())


def test_missing_modelopt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without modelopt there is an EngineError, so that torch can run in place of TensorRT."""
    monkeypatch.setattr("qlumen.networks.eightbit.find_spec", lambda name: None)
    define_operator.cache_clear()
    with pytest.raises(EngineError, match=r"nvidia-modelopt: pip install 'qlumen\[gpu\]'"):
        eight_bit_network(bundle(), operators=True)
