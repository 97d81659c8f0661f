"""Finds the 8-bit ranges of a bundle's convolutions with nvidia-modelopt, and bias corrections."""

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
"""Percentage of an input's absolute values, over all images, in its range. The greatest of some
ten million is an outlier. A range that holds it has a step that is too coarse for the rest."""
METHOD = f"percentile {PERCENT}"
EMPTY_CHANNEL_RANGE = 1.0
"""Range of a channel whose weights are all zero, because TensorRT accepts no step of zero."""
REQUIRED = ("torch", "modelopt")
Ranges = dict[str, NDArray[np.float32]]


def check_modelopt() -> None:
    """Raise MissingExtraError if a package for the search is not installed."""
    missing = [name for name in REQUIRED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"ranges for TensorRT need {missing[0].replace('modelopt', 'nvidia-modelopt')}: "
            "pip install 'qlumen[train]' nvidia-modelopt"
        )


def modelopt_version() -> str:
    return version("nvidia-modelopt")


def ranges_of(source: Bundle, calibration_set: CalibrationImages) -> Ranges:
    """Find the ranges of each convolution, in network order, with names as in `eightbit.py`.

    The input's range, `()`, is the percentile of its absolute values. The weight's range,
    `(channels, 1, 1, 1)`, is the greatest absolute value of each channel.
    """
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # about optional libraries
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
        for image in calibration_set.images:
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
    """Return the mean by which 8 bits lower each convolution's output, `(channels,) float32`.

    Names are those of `networks/eightbit.py`. Convolutions without ranges have no entry. Each
    layer gets its input in single precision.

    Args:
        images: images of the network's input size; the mean is over images and positions
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
    losses = {name: torch.zeros(layer.out_channels) for name, layer in layers.items()}

    def watch(name: str, layer: nn.Conv2d) -> None:
        input_, weight = (torch.from_numpy(ranges[f"{name}.{what}"]) for what in (INPUT, WEIGHT))
        eight_bit_weight = round_to_range(layer.weight, weight)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rounded = convolve(layer, round_to_range(inputs[0], input_), eight_bit_weight)
            losses[name] += (output - rounded).mean((0, 2, 3)) / len(images)

        layer.register_forward_hook(hook)

    for name, layer in layers.items():
        if f"{name}.{INPUT}" in ranges:
            watch(name, layer)
    with torch.inference_mode():
        for image in images:
            network(torch.from_numpy(image)[None])
    return {
        f"{name}.{BIAS}": np.asarray(value.numpy(), np.float32)
        for name, value in losses.items()
        if f"{name}.{INPUT}" in ranges
    }


def _configuration(layers: Sequence[str]) -> dict[str, Any]:
    """Return modelopt's settings: 8 bits only in these layers, weights by output channel."""
    entries: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for name in layers:
        weight = {"num_bits": 8, "axis": 0}
        entries.append({"quantizer_name": f"{name}.weight_quantizer", "cfg": weight})
        input_ = {"num_bits": 8, "axis": None, "calibrator": "histogram"}
        entries.append({"quantizer_name": f"{name}.input_quantizer", "cfg": input_})
    return {"quant_cfg": entries, "algorithm": None}
