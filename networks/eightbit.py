"""A bundle's torch network with convolutions in 8 bits: explicit quantisation, for TensorRT.

    x ------> Q -> DQ --.
                        convolution -> + bias -> ...
    weight -> Q -> DQ --'

Each Q/DQ pair rounds to multiples of `range / 127`, from -128 to 127 of them; weights have a
range per output channel. TensorRT moves the pairs and computes the convolution on bytes. What the
rounding takes from a channel in the mean, its bias gives back. The bottleneck with its circuit's
tables and the head stay in the precision of the rest.

The ranges lie in a file of the bundle, what is added to the biases beside them;
`qlumen calibrate int8 --for tensorrt` writes it.
"""

import io
import math
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.errors import BundleError, EngineError
from qlumen.networks.bundle import Bundle, Precision
from qlumen.networks.deploy import deploy_network

SPARED = ("bottleneck", "head")
"""Parts of the network that are not quantised."""
BITS = 8
LOWEST, HIGHEST = -128, 127
INPUT, WEIGHT = "input", "weight"
"""Of a convolution, what its two ranges are for: `encoder.stem.1.input` and so on."""
BIAS = "bias"
"""What is added to a convolution's bias in 8 bits; it may be left out."""
OPERATORS = "modelopt"
"""The package that defines the operator that Torch-TensorRT converts to Q and DQ."""

Ranges = Mapping[str, Tensor]


class QuantiserOperator(nn.Module):
    """Q and DQ as the one operator that Torch-TensorRT has a converter for; to be exported."""

    range: Tensor

    def __init__(self, range_: Tensor) -> None:
        super().__init__()
        self.register_buffer("range", range_)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.ops.tensorrt.quantize_op(x, self.range, BITS, 0, False, False)
        return result


class Quantiser(QuantiserOperator):
    """What the operator computes, in torch alone."""

    def forward(self, x: Tensor) -> Tensor:
        return round_to_range(x, self.range)


class EightBitConvolution(nn.Module):
    """A convolution whose input and weight go through quantisers."""

    def __init__(
        self, convolution: nn.Conv2d, input_: QuantiserOperator, weight: QuantiserOperator
    ) -> None:
        super().__init__()
        self.convolution, self.input, self.weight = convolution, input_, weight

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self.convolution, self.input(x), self.weight(self.convolution.weight))


def convolve(own: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """What the convolution makes of `x` with this weight in place of its own."""
    return F.conv2d(x, weight, own.bias, own.stride, own.padding, own.dilation, own.groups)


def eight_bit_network(
    bundle: Bundle, precision: Precision = "f32", *, operators: bool = False
) -> nn.Module:
    """`deploy_network` with the convolutions that the bundle has ranges of in 8 bits.

    Args:
        precision: of all else.
        operators: for export to TensorRT; else what they compute, in torch.

    Raises:
        BundleError: the bundle has no ranges, or others than its network needs.
        EngineError: the operator's package is not installed.
    """
    if operators:
        define_operator()
    return quantise(deploy_network(bundle, precision), read_ranges(bundle), operators=operators)


def quantise(network: nn.Module, ranges: Ranges, *, operators: bool = False) -> nn.Module:
    """`network`, changed in place: in 8 bits are the convolutions that have ranges.

    Raises:
        BundleError: a range that is no range, lacks its other, or is of no such convolution.
    """
    kind = QuantiserOperator if operators else Quantiser
    layers = eight_bit_layers(network)
    named = {name.rpartition(".")[0] for name in ranges}
    wanted = {f"{name}.{what}" for name in named & layers.keys() for what in (INPUT, WEIGHT)}
    biases = {f"{name}.{BIAS}" for name in named & layers.keys()} & set(ranges)
    if wanted | biases != set(ranges):
        odd = sorted(wanted ^ (set(ranges) - biases))[0]
        raise BundleError(
            f"the bundle's ranges are not for its network: {odd} is missing, or of no convolution "
            "there; make them again with qlumen calibrate int8 --for tensorrt"
        )
    for name in named:
        convolution = layers[name]
        pair = [_check_range(f"{name}.{what}", ranges, convolution) for what in (INPUT, WEIGHT)]
        if f"{name}.{BIAS}" in biases:
            bias = _check_range(f"{name}.{BIAS}", ranges, convolution)
            if convolution.bias is not None:
                bias = bias + convolution.bias.float()
            convolution.bias = nn.Parameter(bias.to(convolution.weight.dtype))
        parent, _, last = name.rpartition(".")
        made = EightBitConvolution(convolution, kind(pair[0]), kind(pair[1]))
        setattr(network.get_submodule(parent), last, made)
    return network.eval().requires_grad_(False)


def eight_bit_layers(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions that may be quantised, by name, in the order of the network."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not set(SPARED) & set(name.split("."))
    }


def read_ranges(bundle: Bundle) -> dict[str, Tensor]:
    """Of each convolution in 8 bits the ranges of input and weight, `()` and `(channels, 1, 1, 1)
    float32`, and what is added to its bias, `(channels,) float32`; BundleError if the bundle has
    none."""
    if bundle.ranges is None:
        raise BundleError(
            f"{bundle.folder} holds no 8-bit ranges; make a bundle that does with qlumen "
            "calibrate int8 --for tensorrt"
        )
    return load_file(bundle.ranges)


def round_to_range(x: Tensor, range_: Tensor) -> Tensor:
    """`x` at the nearest multiple of `range_ / 127`, from -128 to 127 of them; in single precision,
    returned in that of `x`."""
    step = range_ / HIGHEST
    return (torch.clamp(torch.round(x.float() / step), LOWEST, HIGHEST) * step).to(x.dtype)


@cache
def define_operator() -> torch.library.Library:
    """Define `tensorrt::quantize_op`, for as long as what is returned is kept.

    modelopt defines it with a kernel that nvcc compiles at the first call, and none for the CPU.
    Lowering calls it, and nvcc is not there where only the driver is: so it gets one in torch.

    Raises:
        EngineError: modelopt is not installed.
    """
    if find_spec(OPERATORS) is None:
        raise EngineError(
            "8-bit convolutions in TensorRT need nvidia-modelopt: pip install 'qlumen[gpu]'"
        )
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of unwanted libraries, and of the kernel that is there
        import modelopt.torch.quantization  # noqa: F401

        library = torch.library.Library("tensorrt", "IMPL")
        for device in ("CPU", "CUDA"):
            library.impl("quantize_op", _compute, device, allow_override=True)
    return library


def _compute(
    x: Tensor, range_: Tensor, bits: int, exponent_bits: int, unsigned: bool, narrow: bool
) -> Tensor:
    if (bits, exponent_bits, unsigned, narrow) != (BITS, 0, False, False):
        raise ValueError(f"{bits} bits with {exponent_bits} of exponent are not in use here")
    return round_to_range(x, range_)


def _check_range(name: str, ranges: Ranges, convolution: nn.Conv2d) -> Tensor:
    channels, what = convolution.out_channels, name.rpartition(".")[2]
    shape = {INPUT: (), WEIGHT: (channels, 1, 1, 1), BIAS: (channels,)}[what]
    found = ranges[name]
    if tuple(found.shape) != shape or found.dtype != torch.float32:
        raise BundleError(
            f"range {name} is {tuple(found.shape)} {found.dtype}; want {shape} torch.float32"
        )
    least, greatest = float(found.min()), float(found.max())
    if what == BIAS:
        if not (math.isfinite(least) and math.isfinite(greatest)):
            raise BundleError(f"{name} goes from {least:g} to {greatest:g}; want finite")
        return found
    if not (least > 0 and math.isfinite(greatest)):
        raise BundleError(f"range {name} goes from {least:g} to {greatest:g}; want finite, above 0")
    return found
