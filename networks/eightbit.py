"""Builds a bundle's torch network with 8-bit convolutions, quantised explicitly for TensorRT.

    x ------> Q -> DQ --.
                        convolution -> + bias -> ...
    weight -> Q -> DQ --'

Each Q/DQ pair rounds to multiples of `range / 127`, from -128 to 127 of them. Weights have one
range per output channel. TensorRT moves the pairs and computes the convolution on bytes. The bias
of a channel gives back the mean that the rounding takes away. The bottleneck with the circuit's
tables and the head keep the precision of the other layers.

`qlumen calibrate int8 --for tensorrt` writes ranges and bias corrections to a file of the bundle.
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

UNQUANTISED = ("bottleneck", "head")
"""Parts of the network that are not quantised."""
BITS = 8
LOWEST, HIGHEST = -128, 127
INPUT, WEIGHT = "input", "weight"
"""Last part of the names of a convolution's two ranges, such as `encoder.stem.1.input`."""
BIAS = "bias"
"""Last part of the name of a bias correction, which is optional."""
OPERATORS = "modelopt"
"""Package that defines the operator which Torch-TensorRT converts to Q and DQ."""

Ranges = Mapping[str, Tensor]


class QuantiserOperator(nn.Module):
    """Applies Q and DQ, for export, as the one operator that Torch-TensorRT can convert."""

    range: Tensor

    def __init__(self, range_: Tensor) -> None:
        super().__init__()
        self.register_buffer("range", range_)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.ops.tensorrt.quantize_op(x, self.range, BITS, 0, False, False)
        return result


class Quantiser(QuantiserOperator):
    """Computes the result of the operator in torch alone, which ONNX writes as Q and DQ."""

    scale: Tensor
    zero: Tensor

    def __init__(self, range_: Tensor) -> None:
        super().__init__(range_)
        self.register_buffer("scale", (range_ / HIGHEST).flatten())
        self.register_buffer("zero", torch.zeros(range_.numel(), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        single, limits = x.float(), (LOWEST, HIGHEST)
        if self.range.dim():
            rounded = torch.fake_quantize_per_channel_affine(
                single, self.scale, self.zero, 0, *limits
            )
        else:
            rounded = torch.fake_quantize_per_tensor_affine(
                single, self.scale[0], self.zero[0], *limits
            )
        return rounded.to(x.dtype)


class EightBitConvolution(nn.Module):
    """Runs a convolution whose input and weight go through quantisers."""

    def __init__(
        self, convolution: nn.Conv2d, input_: QuantiserOperator, weight: QuantiserOperator
    ) -> None:
        super().__init__()
        self.convolution, self.input, self.weight = convolution, input_, weight

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self.convolution, self.input(x), self.weight(self.convolution.weight))


def convolve(own: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """Apply the convolution `own` to `x` with this weight in place of its own weight."""
    return F.conv2d(x, weight, own.bias, own.stride, own.padding, own.dilation, own.groups)


def eight_bit_network(
    bundle: Bundle, precision: Precision = "f32", *, operators: bool = False
) -> nn.Module:
    """Build `deploy_network` with 8-bit convolutions wherever the bundle has ranges.

    Args:
        precision: arithmetic of the other layers.
        operators: True for export to TensorRT; False computes the same values in torch.

    Raises:
        BundleError: the bundle has no ranges, or ranges that do not fit its network.
        EngineError: the operator's package is not installed.
    """
    if operators:
        define_operator()
    return quantise(deploy_network(bundle, precision), read_ranges(bundle), operators=operators)


def quantise(network: nn.Module, ranges: Ranges, *, operators: bool = False) -> nn.Module:
    """Put the convolutions that have ranges in 8 bits, in place, and return `network`.

    Raises:
        BundleError: a range is invalid, is missing, or belongs to no such convolution.
    """
    kind = QuantiserOperator if operators else Quantiser
    layers = eight_bit_layers(network)
    named = {name.rpartition(".")[0] for name in ranges}
    wanted = {f"{name}.{what}" for name in named & layers.keys() for what in (INPUT, WEIGHT)}
    biases = {f"{name}.{BIAS}" for name in named & layers.keys()} & set(ranges)
    if wanted | biases != set(ranges):
        odd = sorted(wanted ^ (set(ranges) - biases))[0]
        raise BundleError(
            f"the bundle's ranges are not for its network: {odd} is missing or has no convolution "
            "there; make the ranges again with qlumen calibrate int8 --for tensorrt"
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
        replacement = EightBitConvolution(convolution, kind(pair[0]), kind(pair[1]))
        setattr(network.get_submodule(parent), last, replacement)
    return network.eval().requires_grad_(False)


def eight_bit_layers(network: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the convolutions that may be quantised, by name, in the network's order."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not set(UNQUANTISED) & set(name.split("."))
    }


def read_ranges(bundle: Bundle) -> dict[str, Tensor]:
    """Read the float32 values of each 8-bit convolution; raise BundleError if there are none.

    They are the range of the input, `()`, that of the weight, `(channels, 1, 1, 1)`, and the
    correction of the bias, `(channels,)`.
    """
    if bundle.ranges is None:
        raise BundleError(
            f"{bundle.folder} holds no 8-bit ranges; run qlumen calibrate int8 --for tensorrt "
            "to make a bundle with ranges"
        )
    return load_file(bundle.ranges)


def round_to_range(x: Tensor, range_: Tensor) -> Tensor:
    """Round `x` in single precision to -128 to 127 steps of `range_ / 127`; keep its dtype."""
    step = range_ / HIGHEST
    return (torch.clamp(torch.round(x.float() / step), LOWEST, HIGHEST) * step).to(x.dtype)


@cache
def define_operator() -> torch.library.Library:
    """Define `tensorrt::quantize_op` for as long as the returned library is kept.

    modelopt defines it without a CPU kernel, and with one that nvcc compiles at the first call.
    Lowering calls it, but a machine with only a driver has no nvcc. So it gets a torch kernel.

    Raises:
        EngineError: modelopt is not installed.
    """
    if find_spec(OPERATORS) is None:
        raise EngineError(
            "8-bit convolutions in TensorRT need nvidia-modelopt: pip install 'qlumen[gpu]'"
        )
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # about unwanted libraries and the replaced kernel
        import modelopt.torch.quantization  # noqa: F401

        library = torch.library.Library("tensorrt", "IMPL")
        for device in ("CPU", "CUDA"):
            library.impl("quantize_op", _compute, device, allow_override=True)
    return library


def _compute(
    x: Tensor, range_: Tensor, bits: int, exponent_bits: int, unsigned: bool, narrow: bool
) -> Tensor:
    if (bits, exponent_bits, unsigned, narrow) != (BITS, 0, False, False):
        raise ValueError(f"{bits} bits, {exponent_bits} of exponent; use {BITS} signed bits")
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
            raise BundleError(f"{name} goes from {least:g} to {greatest:g}; both must be finite")
        return found
    if not (least > 0 and math.isfinite(greatest)):
        raise BundleError(f"range {name} goes from {least:g} to {greatest:g}; use finite, above 0")
    return found
