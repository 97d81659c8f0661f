"""The circuit as a torch layer for training.

The weights are the same for every position of a batch, so the circuit's table of
coefficients is built once a step, differentiably, and applied to all positions as
products and one matrix multiplication. The table is contracted in the Pauli basis:
with the encoded qubit state (I + cos x Z + sin x X) / 2 and U the ansatz,

    <Z_k> = sum over B in {I, Z, X}^n of Tr(U^dagger Z_k U B) / 2^n * product of {1, cos, sin}.
"""

import math

import torch
from torch import Tensor, nn

from qlumen.quantum.circuits import Circuit


class QuantumLayer(nn.Module):
    """`(rows, n_inputs)` angles in radians to `(rows, n_outputs)` expectation values."""

    def __init__(self, circuit: Circuit) -> None:
        super().__init__()
        self.circuit = circuit
        self.weights = nn.Parameter(2 * math.pi * torch.rand(circuit.weight_shape))

    def forward(self, angles: Tensor) -> Tensor:
        table = vqc_table(self.weights, self.circuit.n_qubits).to(angles.dtype)
        return trigonometric_products(angles) @ table


def trigonometric_products(angles: Tensor) -> Tensor:
    """All products of one of `1, cos x_i, sin x_i` per input.

    Args:
        angles: `(rows, n)`, radians.

    Returns:
        `(rows, 3^n)`; the last input varies fastest.
    """
    rows, n = angles.shape
    factors = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], dim=-1)
    products = factors[:, 0]
    for i in range(1, n):
        products = (products[:, :, None] * factors[:, None, i]).reshape(rows, 3 ** (i + 1))
    return products


def vqc_table(weights: Tensor, n_qubits: int) -> Tensor:
    """Coefficients of the `vqc` read-outs, differentiable in the weights.

    Args:
        weights: `(layers, n, 3)`, radians.

    Returns:
        `(3^n, n)` float64, rows ordered as in `trigonometric_products`.
    """
    unitary = entangling_unitary(weights, n_qubits)
    dim = 2**n_qubits
    observables = unitary.conj().T @ (_z_signs(n_qubits)[:, :, None] * unitary)
    paulis = _encoding_paulis()
    table = observables.reshape(n_qubits, dim, dim, 1)
    for _ in range(n_qubits):
        half = table.shape[1] // 2
        split = table.reshape(n_qubits, 2, half, 2, half, -1)
        table = torch.einsum("karbcp,qba->krcpq", split, paulis).flatten(start_dim=3)
    return table.reshape(n_qubits, 3**n_qubits).real.T / dim


def entangling_unitary(weights: Tensor, n_qubits: int) -> Tensor:
    """The matrix of `qml.StronglyEntanglingLayers`, wire 0 most significant.

    Args:
        weights: `(layers, n, 3)`, radians.

    Returns:
        `(2^n, 2^n)` complex128.
    """
    dim = 2**n_qubits
    rotations = _rotations(weights.double())
    unitary = torch.eye(dim, dtype=torch.complex128)
    for layer in range(len(weights)):
        for wire in range(n_qubits):
            split = unitary.reshape(2**wire, 2, -1)
            unitary = torch.einsum("ab,lbr->lar", rotations[layer, wire], split)
        unitary = unitary.reshape(dim, dim)[_entangler(n_qubits, layer)]
    return unitary


def _rotations(angles: Tensor) -> Tensor:
    """`(..., 3)` angles to `(..., 2, 2)` matrices of `qml.Rot`: RZ(omega) RY(theta) RZ(phi)."""
    phi, theta, omega = angles.unbind(dim=-1)
    cos, sin = (theta / 2).cos(), (theta / 2).sin()
    plus = torch.exp(0.5j * (phi + omega))
    minus = torch.exp(0.5j * (phi - omega))
    rows = [cos * plus.conj(), -sin * minus, sin * minus.conj(), cos * plus]
    return torch.stack(rows, dim=-1).reshape(*phi.shape, 2, 2)


def _entangler(n_qubits: int, layer: int) -> Tensor:
    """The ring of CNOTs of a layer, as row indices of the matrix it is applied to."""
    reach = layer % (n_qubits - 1) + 1
    rows = torch.arange(2**n_qubits)
    for control in reversed(range(n_qubits)):
        target = (control + reach) % n_qubits
        bit = (rows >> (n_qubits - 1 - control)) & 1
        rows = rows ^ (bit << (n_qubits - 1 - target))
    return rows


def _z_signs(n_qubits: int) -> Tensor:
    """`(n, 2^n)`: the eigenvalue of Z on each qubit for each basis state."""
    states = torch.arange(2**n_qubits)
    shifts = torch.arange(n_qubits - 1, -1, -1)
    return (1 - 2 * ((states[None] >> shifts[:, None]) & 1)).to(torch.complex128)


def _encoding_paulis() -> Tensor:
    """`(3, 2, 2)`: I, Z and X, the factors of 1, cos and sin in RY(x)|0><0|RY(x)^dagger."""
    return torch.tensor(
        [[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]], dtype=torch.complex128
    )
