"""Writes untrained bundles for images of 64 pixels, for tests that need no findings."""

from pathlib import Path

import numpy as np
import torch

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.calibration.ranges import write_ranges
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Bundle, Thresholds
from qlumen.networks.deploy import deploy_network
from qlumen.networks.eightbit import INPUT, WEIGHT, eight_bit_layers
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import NetworkConfig, UNet

from support.few_checks import few_checks

SIDE = 64


def write_tiny_bundle(folder: Path, bottleneck: BottleneckConfig) -> Bundle:
    """Write a bundle whose probabilities spread around one half."""
    torch.manual_seed(0)
    network = UNet(NetworkConfig((16, 8, 8, 8), bottleneck)).eval()
    with torch.no_grad():
        network.bottleneck.gate.fill_(3)
        network.head.weight.mul_(30)
    thresholds = Thresholds(low=0.25, high=0.5, min_area_fraction=0)
    with few_checks():
        return write_bundle(
            folder, network, name="tiny", version="0", size=SIDE,
            thresholds=thresholds, provenance={"by": "test"},
        )  # fmt: skip


def add_ranges(folder: Path, bundle: Bundle) -> Bundle:
    """Write a copy of the bundle with 8-bit ranges: those of the weights, and 6, as of ReLU6."""
    ranges: dict[str, np.ndarray] = {}
    for name, layer in eight_bit_layers(deploy_network(bundle)).items():
        ranges[f"{name}.{INPUT}"] = np.array(6, np.float32)
        ranges[f"{name}.{WEIGHT}"] = layer.weight.abs().amax((1, 2, 3), keepdim=True).numpy()
    return write_ranges(folder, bundle, ranges, CalibrationImages(("none",), ()))
