"""Builds the torch network of a bundle from its weights. Needs no OpenVINO."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.encoder import MEAN, STD
from qlumen.networks.unet import NetworkConfig, UNet

HALF_ABOVE_ELEMENTS = 4096
"""Larger constants of the compiled form are stored in half precision: the weights of
convolutions, but not the biases or the circuit's table."""


class Deployed(nn.Module):
    """Maps `(1, H, W, 3) uint8` BGR to probabilities `(1, 1, H/2, W/2) float32`.

    Args:
        precision: dtype of the input and output of `network`.
    """

    def __init__(self, network: UNet, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, image: Tensor) -> Tensor:
        # Convert first: TensorRT accepts bytes as an input and for no other operation.
        rgb = image.float().permute(0, 3, 1, 2).flip(1)
        logits = self.network(((rgb - MEAN) / STD).to(self.precision))
        return torch.sigmoid(logits.float())


def load_network(weights: Path, config: NetworkConfig) -> UNet:
    """Load the torch network of a bundle in single precision and evaluation mode."""
    network = UNet(config)
    single = {
        name: value.float() if value.dtype == torch.float16 else value
        for name, value in load_file(weights).items()
    }
    network.load_state_dict(single)
    return network.eval()


def network_config(values: Mapping[str, Any]) -> NetworkConfig:
    """Convert a manifest's `network` record to the configuration that it came from."""
    return NetworkConfig(
        decoder_channels=tuple(values["decoder_channels"]),
        bottleneck=BottleneckConfig(**values["bottleneck"]),
        encoder=values.get("encoder", "lite0"),
    )
