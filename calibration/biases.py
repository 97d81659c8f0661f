"""What 8 bits add to a convolution's output in the mean, to be taken off by its bias.

A rounded weight is off by as much in every picture, so a channel's output is off in the mean, and
behind the next layers the map is darker or brighter as a whole. The bias takes that off at no cost
(Nagel et al. 2019, arXiv 1906.04721, section 4.2; here from pictures, as NNCF does it).
"""

from collections.abc import Sequence

import numpy as np

from qlumen.calibration.modelopt import Ranges
from qlumen.networks.bundle import Bundle
from qlumen.realtime.pixels.arrays import Image


def biases_of(source: Bundle, ranges: Ranges, images: Sequence[Image]) -> Ranges:
    """By the names of `networks/eightbit.py`, of each convolution that has ranges, `(channels,)
    float32`: the mean by which its output is too low in 8 bits.

    Each layer is given what comes to it in single precision.

    Args:
        images: of the network's input size; the mean is over them and all positions.
    """
    import torch
    from torch import Tensor, nn

    from qlumen.networks.deploy import deployed_network
    from qlumen.networks.eightbit import BIAS, INPUT, WEIGHT, convolved, eight_bit_layers, rounded

    network = deployed_network(source)
    layers = eight_bit_layers(network)
    lacking = {name: torch.zeros(layer.out_channels) for name, layer in layers.items()}

    def watch(name: str, layer: nn.Conv2d) -> None:
        input_, weight = (torch.from_numpy(ranges[f"{name}.{what}"]) for what in (INPUT, WEIGHT))
        eight_bit_weight = rounded(layer.weight, weight)

        def hook(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            made = convolved(layer, rounded(given[0], input_), eight_bit_weight)
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
