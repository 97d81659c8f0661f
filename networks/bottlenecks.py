"""Builds the part at the U-Net's deepest feature map: one of four cores in a gated residual.

    y = x + gate * back(core(pi * tanh(project(x))))

    vqc        at each position, n features are the angles of a small circuit
    hqconv     three features pooled to a 4x4 grid are the angles of a circuit of 16 qubits
    classical  like vqc, with an MLP of as many parameters in place of the circuit
    identity   like vqc, with nothing in place of the circuit

`project` and `back` are 1x1 convolutions. All shapes are static once the map's size is static.
"""

from dataclasses import dataclass
from math import pi
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from qlumen.quantum.circuits import ANGLES_PER_CELL, make_circuit
from qlumen.quantum.layer import QuantumLayer

BOTTLENECKS = ("vqc", "hqconv", "classical", "identity")

GATE_START = 0.1
"""Weight of the bottleneck's output in the sum before training."""
GRID_SIDE = 4
READ_OUTS = 2
"""Outputs of each `hqconv` cell: Z and X."""
Resampling = Literal["pool", "spread"]
"""To the grid, and back to the map."""


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """Describes a bottleneck.

    Attributes:
        name: one of `BOTTLENECKS`.
        qubits: features of a position and qubits of the vqc, 2 to 8; `hqconv` always has 16.
        layers: strongly entangling layers of the vqc, or filters of each pass of `hqconv`.
        reuploading: True if the vqc encodes its inputs again before each layer.
    """

    name: str = "vqc"
    qubits: int = 4
    layers: int = 2
    reuploading: bool = False


class GatedBottleneck(nn.Module):
    """Maps `(N, C, h, w)` to its own shape; `core` maps angles to outputs, `(positions, n)`."""

    def __init__(self, channels: int, features: int, core: nn.Module) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, features, kernel_size=1)
        self.core = core
        self.back = nn.Conv2d(features, channels, kernel_size=1)
        self.gate = nn.Parameter(torch.tensor(GATE_START))

    def forward(self, x: Tensor) -> Tensor:
        angles = pi * torch.tanh(self.project(x))
        n, features, h, w = map(int, angles.shape)  # ints are constants in an exported graph
        rows = angles.permute(0, 2, 3, 1).reshape(n * h * w, features)
        out = self.core(rows).reshape(n, h, w, -1).permute(0, 3, 1, 2)
        return x + self.gate * self.back(out)


class GridBottleneck(nn.Module):
    """Maps `(N, C, h, w)` to its own shape; `core` maps `(N, 48)` grid angles to `(N, 32)`.

    An adaptive average pool makes the grid, and linear interpolation brings it back. Both are
    products with fixed matrices, because pooling 11 to 4 has no single stride.
    """

    def __init__(self, channels: int, core: nn.Module) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, ANGLES_PER_CELL, kernel_size=1)
        self.core = core
        self.back = nn.Conv2d(READ_OUTS, channels, kernel_size=1)
        self.gate = nn.Parameter(torch.tensor(GATE_START))
        self._fixed: tuple[int, int] | None = None

    def fix_size(self, h: int, w: int) -> None:
        """Keep the matrices for maps of one size in buffers, which are not among the weights.

        Matrices that each call makes on the CPU cannot be captured in a CUDA graph.
        """
        for kind in get_args(Resampling):
            rows, columns = resampling(kind, h, w)
            self.register_buffer(f"{kind}_rows", rows, persistent=False)
            self.register_buffer(f"{kind}_columns", columns, persistent=False)
        self._fixed = h, w

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = map(int, x.shape)
        pooled = _resample(self.project(x), *self._matrices("pool", h, w))
        angles = pi * torch.tanh(pooled)
        out = self.core(angles.permute(0, 2, 3, 1).reshape(n, -1))
        grid = out.reshape(n, GRID_SIDE, GRID_SIDE, READ_OUTS).permute(0, 3, 1, 2)
        back = _resample(grid, *self._matrices("spread", h, w))
        return x + self.gate * self.back(back)

    def _matrices(self, kind: Resampling, h: int, w: int) -> tuple[Tensor, Tensor]:
        if self._fixed == (h, w):
            return self.get_buffer(f"{kind}_rows"), self.get_buffer(f"{kind}_columns")
        return resampling(kind, h, w)


def make_bottleneck(config: BottleneckConfig, channels: int) -> nn.Module:
    """Build the bottleneck for `channels` features; raise ValueError for an unknown name."""
    if config.name not in BOTTLENECKS:
        raise ValueError(
            f"bottleneck {config.name!r} is unknown; use one of: {', '.join(BOTTLENECKS)}"
        )
    if config.name == "hqconv":
        return GridBottleneck(channels, QuantumLayer(make_circuit("hqconv", 0, config.layers)))
    if config.name == "identity":
        core: nn.Module = nn.Identity()
    elif config.name == "classical":
        core = _make_mlp(config.qubits, config.layers)
    else:
        circuit = make_circuit("vqc", config.qubits, config.layers, config.reuploading)
        core = QuantumLayer(circuit)
    return GatedBottleneck(channels, config.qubits, core)


def bottleneck_name(config: BottleneckConfig) -> str:
    """Return the name for bundles, such as `vqc4`."""
    return config.name if config.name == "hqconv" else f"{config.name}{config.qubits}"


def resampling(kind: Resampling, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Return the matrices for rows and columns between `(h, w)` maps and the grid."""
    if kind == "pool":
        return pooling(h, GRID_SIDE), pooling(w, GRID_SIDE)
    return interpolation(GRID_SIDE, h), interpolation(GRID_SIDE, w)


def pooling(size: int, cells: int) -> Tensor:
    """Return the `(cells, size)` weights of an adaptive average pool along one axis.

    Cell i is the mean of the inputs from floor(i size / cells) to ceil((i + 1) size / cells).
    """
    weights = torch.zeros(cells, size)
    for cell in range(cells):
        start, stop = cell * size // cells, -(-(cell + 1) * size // cells)
        weights[cell, start:stop] = 1 / (stop - start)
    return weights


def interpolation(cells: int, size: int) -> Tensor:
    """Return the `(size, cells)` weights of linear interpolation between cell centres."""
    centres = ((torch.arange(size) + 0.5) * cells / size - 0.5).clamp(0, cells - 1)
    distance = (centres[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp(min=0)


def _make_mlp(features: int, layers: int) -> nn.Sequential:
    """Build an MLP with the 3 n L parameters of the vqc and outputs in the same range.

    It has two matrices of n (3 L / 2) each. Where 3 L is odd, n biases make up the rest.
    """
    hidden, odd = divmod(3 * layers, 2)
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False),
        nn.Tanh(),
        nn.Linear(hidden, features, bias=bool(odd)),
        nn.Tanh(),
    )


def _resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample `(N, C, h, w)` with `(H, h)` and `(W, w)` weights to `(N, C, H, W)`."""
    return rows.to(x) @ x @ columns.to(x).T
