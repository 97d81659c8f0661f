"""Computes a surrogate as a torch module, by multiplications and one or two matrix products.

All shapes are static once the input's is, so the modules export to ONNX, OpenVINO and
`torch.export`. The arithmetic is that of `quantum/surrogate.py`, in single precision.
"""

from math import isqrt

import torch
from torch import Tensor, nn

from qlumen.quantum.circuits import ANGLES_PER_CELL
from qlumen.quantum.surrogate import Surrogate


class FrozenCircuit(nn.Module):
    """Computes a circuit with one table: `(rows, n_inputs)` angles to `(rows, n_outputs)`."""

    table: Tensor

    def __init__(self, table: Tensor, degree: int = 1) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.degree = degree

    def forward(self, angles: Tensor) -> Tensor:
        return trigonometric_products(angles, self.degree) @ self.table


class FrozenGrid(nn.Module):
    """Computes a circuit with a table for its rows and one for its columns, as `hqconv` has."""

    row_table: Tensor
    column_table: Tensor

    def __init__(self, row_table: Tensor, column_table: Tensor, side: int) -> None:
        super().__init__()
        self.register_buffer("row_table", row_table)
        self.register_buffer("column_table", column_table)
        self.side = side

    def forward(self, angles: Tensor) -> Tensor:
        return separable_outputs(angles, self.row_table, self.column_table, self.side)


def freeze(surrogate: Surrogate) -> nn.Module:
    """Convert a surrogate to a module with `float32` tables."""
    tables = [torch.from_numpy(table).float() for table in surrogate.tables]
    circuit = surrogate.circuit
    if circuit.parts:
        return FrozenGrid(tables[0], tables[1], isqrt(circuit.n_qubits))
    return FrozenCircuit(tables[0], circuit.uploads)


def trigonometric_products(angles: Tensor, degree: int = 1) -> Tensor:
    """Return all products of one of `1, cos x_i, sin x_i, .., cos dx_i, sin dx_i` per input.

    Args:
        angles: `(rows, n)`, radians.

    Returns:
        `(rows, (2 degree + 1)^n)`; the last input varies fastest.
    """
    waves = [torch.ones_like(angles)]
    for k in range(1, degree + 1):
        waves += [(k * angles).cos(), (k * angles).sin()]
    return products(torch.stack(waves, dim=-1))


def separable_outputs(angles: Tensor, row_table: Tensor, column_table: Tensor, side: int) -> Tensor:
    """Compute `hqconv` from its tables.

    Args:
        angles: `(n, 3 side^2)`, radians.
        row_table: `(4^side, 3 side)`: Bloch vectors of a row's qubits.
        column_table: `(4^side, 2 side)`: Z and X of a column's qubits.

    Returns:
        `(n, 2 side^2)` expectation values.
    """
    n = angles.shape[0]
    states = bloch_vectors(angles.reshape(n * side, side, ANGLES_PER_CELL))
    rows = (products(states) @ row_table).reshape(n, side, side, 3)
    mixed = torch.cat([torch.ones_like(rows[..., :1]), rows], dim=-1)
    columns = mixed.transpose(1, 2).reshape(n * side, side, 4)
    out = (products(columns) @ column_table).reshape(n, side, side, 2)
    return out.transpose(1, 2).reshape(n, 2 * side * side)


def bloch_vectors(angles: Tensor) -> Tensor:
    """Map `(..., 3)` angles of RX, RY, RZ on |0> to `(..., 4)`: 1 and the Bloch vector."""
    ca, cb, cc = angles.cos().unbind(dim=-1)
    sa, sb, sc = angles.sin().unbind(dim=-1)
    x = cc * sb * ca + sc * sa
    y = sc * sb * ca - cc * sa
    return torch.stack([torch.ones_like(x), x, y, cb * ca], dim=-1)


def products(factors: Tensor) -> Tensor:
    """Multiply `(rows, n, k)` to `(rows, k^n)`; the last factor varies fastest."""
    rows, n, k = factors.shape
    result = factors[:, 0]
    for i in range(1, n):
        result = (result[:, :, None] * factors[:, None, i]).reshape(rows, k ** (i + 1))
    return result
