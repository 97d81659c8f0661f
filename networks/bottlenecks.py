"""What can stand at the U-Net's deepest feature map, behind one gated residual:

    y = x + gate * back(core(project(x)))

`project` and `back` are 1x1 convolutions, so every core sees the same few features.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

from qlumen.quantum.circuits import make_vqc
from qlumen.quantum.layer import QuantumLayer

BOTTLENECKS = ("vqc",)

GATE_START = 0.1
"""The share of the bottleneck's output in the sum before training."""


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """Attributes:
    name: `vqc`.
    qubits: features and qubits, 2 to 8.
    layers: strongly entangling layers.
    """

    name: str = "vqc"
    qubits: int = 4
    layers: int = 2


class GatedBottleneck(nn.Module):
    """`(N, C, h, w)` to the same shape; `core` maps `(positions, n)` angles to `(positions, n)`."""

    def __init__(self, channels: int, features: int, core: nn.Module) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, features, kernel_size=1)
        self.core = core
        self.back = nn.Conv2d(features, channels, kernel_size=1)
        self.gate = nn.Parameter(torch.tensor(GATE_START))

    def forward(self, x: Tensor) -> Tensor:
        angles = pi * torch.tanh(self.project(x))
        n, features, h, w = angles.shape
        rows = angles.permute(0, 2, 3, 1).reshape(n * h * w, features)
        out = self.core(rows).reshape(n, h, w, -1).permute(0, 3, 1, 2)
        return x + self.gate * self.back(out)


def make_bottleneck(config: BottleneckConfig, channels: int) -> nn.Module:
    """Build the bottleneck for `channels` feature channels; ValueError for an unknown name."""
    if config.name == "vqc":
        circuit = make_vqc(config.qubits, config.layers)
        return GatedBottleneck(channels, config.qubits, QuantumLayer(circuit))
    raise ValueError(f"bottleneck {config.name!r} is unknown; use one of: {', '.join(BOTTLENECKS)}")
