"""The 8-bit ranges of a bundle's convolutions, and what their biases lack, found on pictures.

The ranges are found by nvidia-modelopt.
"""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.errors import MissingExtraError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.pixels.arrays import Image

PERCENT = 99.99
"""Of the absolute values of an input that its range holds, over all pictures. The greatest of some
ten million is far out, and a step that reaches to it is too coarse for the rest."""
METHOD = f"percentile {PERCENT}"
EMPTY_CHANNEL_RANGE = 1.0
"""Of a channel whose weights are all zero: TensorRT takes no step of zero."""
REQUIRED = ("torch", "modelopt")
Ranges = dict[str, NDArray[np.float32]]


def check_modelopt() -> None:
    """Raise MissingExtraError for what finding ranges takes and is not installed."""
    missing = [name for name in REQUIRED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"ranges for TensorRT need {missing[0].replace('modelopt', 'nvidia-modelopt')}: "
            "pip install 'qlumen[train]' nvidia-modelopt"
        )


def modelopt_version() -> str:
    return version("nvidia-modelopt")


def ranges_of(source: Bundle, pictures: CalibrationImages) -> Ranges:
    """By the names of `networks/eightbit.py`, in the order of the network: of each convolution's
    input the percentile of the absolute values on the pictures, `()`, and of its weight the
    greatest by channel, `(channels, 1, 1, 1)`."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # on libraries that are not wanted here
        import modelopt.torch.quantization as mtq
        from modelopt.torch.quantization.model_calib import enable_stats_collection
    import torch
    from modelopt.torch.quantization.nn import TensorQuantizer

    from qlumen.networks.deploy import deploy_network
    from qlumen.networks.eightbit import INPUT, WEIGHT, eight_bit_layers

    network = deploy_network(source)
    layers = list(eight_bit_layers(network))
    with redirect_stdout(io.StringIO()):
        mtq.quantize(network, _configuration(layers), None)
    enable_stats_collection(network)
    with torch.inference_mode():
        for image in pictures.images:
            network(torch.from_numpy(image)[None])
    seen = {
        name: module._calibrator
        for name, module in network.named_modules()
        if isinstance(module, TensorQuantizer)
    }
    ranges: Ranges = {}
    for name in layers:
        weight = seen[f"{name}.weight_quantizer"].compute_amax().float().numpy()
        weight = weight.reshape(-1, 1, 1, 1)
        ranges[f"{name}.{WEIGHT}"] = np.where(weight > 0, weight, np.float32(EMPTY_CHANNEL_RANGE))
        input_ = seen[f"{name}.input_quantizer"].compute_amax("percentile", percentile=PERCENT)
        ranges[f"{name}.{INPUT}"] = np.asarray(float(input_), np.float32)
    return ranges


def biases_of(source: Bundle, ranges: Ranges, images: Sequence[Image]) -> Ranges:
    """By the names of `networks/eightbit.py`, of each convolution that has ranges, `(channels,)
    float32`: the mean by which its output is too low in 8 bits.

    Each layer is given what comes to it in single precision.

    Args:
        images: of the network's input size; the mean is over them and all positions.
    """
    import torch
    from torch import Tensor, nn

    from qlumen.networks.deploy import deploy_network
    from qlumen.networks.eightbit import (
        BIAS,
        INPUT,
        WEIGHT,
        convolve,
        eight_bit_layers,
        round_to_range,
    )

    network = deploy_network(source)
    layers = eight_bit_layers(network)
    lacking = {name: torch.zeros(layer.out_channels) for name, layer in layers.items()}

    def watch(name: str, layer: nn.Conv2d) -> None:
        input_, weight = (torch.from_numpy(ranges[f"{name}.{what}"]) for what in (INPUT, WEIGHT))
        eight_bit_weight = round_to_range(layer.weight, weight)

        def hook(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            made = convolve(layer, round_to_range(given[0], input_), eight_bit_weight)
            lacking[name] += (output - made).mean((0, 2, 3)) / len(images)

        layer.register_forward_hook(hook)

    for name, layer in layers.items():
        if f"{name}.{INPUT}" in ranges:
            watch(name, layer)
    with torch.inference_mode():
        for image in images:
            network(torch.from_numpy(image)[None])
    return {
        f"{name}.{BIAS}": np.asarray(value.numpy(), np.float32)
        for name, value in lacking.items()
        if f"{name}.{INPUT}" in ranges
    }


def _configuration(layers: Sequence[str]) -> dict[str, Any]:
    """modelopt's: 8 bits for these convolutions alone, weights by output channel."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for name in layers:
        weight = {"num_bits": 8, "axis": 0}
        entries.append({"quantizer_name": f"{name}.weight_quantizer", "cfg": weight})
        input_ = {"num_bits": 8, "axis": None, "calibrator": "histogram"}
        entries.append({"quantizer_name": f"{name}.input_quantizer", "cfg": input_})
    return {"quant_cfg": entries, "algorithm": None}
