"""Computes the trained parts of the circuits as matrices, differentiable in their angles.

Wire 0 is the most significant bit of a row's number, as in PennyLane.
"""

import torch
from torch import Tensor


def entangling_unitary(weights: Tensor, n_qubits: int, first_layer: int = 0) -> Tensor:
    """Return the matrix of `qml.StronglyEntanglingLayers`.

    Args:
        weights: `(layers, n, 3)`, radians.
        first_layer: number of the first layer, on which its ring of CNOTs depends.

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
        unitary = unitary.reshape(dim, dim)[_entangler(n_qubits, first_layer + layer)]
    return unitary


def sweep_unitary(weights: Tensor, n_qubits: int) -> Tensor:
    """Return the matrix of `hqconv`'s filters along one row or column.

    Args:
        weights: `(layers, 15)`, radians.

    Returns:
        `(2^n, 2^n)` complex128.
    """
    dim = 2**n_qubits
    unitary = torch.eye(dim, dtype=torch.complex128)
    for angles in weights.double():
        gate = filter_unitary(angles)
        for wire in range(n_qubits - 1):
            split = unitary.reshape(2**wire, 4, -1)
            unitary = torch.einsum("ab,lbr->lar", gate, split).reshape(dim, dim)
    return unitary


def filter_unitary(angles: Tensor) -> Tensor:
    """Return the `(4, 4)` matrix of the two-qubit filter with these `(15,)` angles."""
    before_a, before_b, after_a, after_b = _rotations(
        torch.stack([angles[0:3], angles[3:6], angles[9:12], angles[12:15]])
    )
    before, after = torch.kron(before_a, before_b), torch.kron(after_a, after_b)
    return after @ _coupling(angles[6:9]) @ before


def vqc_observables(weights: Tensor, n_qubits: int) -> Tensor:
    """Carry Z on each qubit back through the ansatz: `(n, 2^n, 2^n)`."""
    unitary = entangling_unitary(weights, n_qubits)
    return unitary.conj().T @ (z_signs(n_qubits)[:, :, None] * unitary)


def sweep_observables(weights: Tensor, n_qubits: int, axes: str) -> Tensor:
    """Carry each axis on each qubit back through the filters: `(n len(axes), 2^n, 2^n)`."""
    unitary = sweep_unitary(weights, n_qubits)
    dim = 2**n_qubits
    carried = []
    for wire in range(n_qubits):
        for axis in axes:
            split = unitary.reshape(2**wire, 2, -1)
            applied = torch.einsum("ab,lbr->lar", paulis(axis)[0], split).reshape(dim, dim)
            carried.append(unitary.conj().T @ applied)
    return torch.stack(carried)


def pauli_coefficients(observables: Tensor, basis: Tensor) -> Tensor:
    """Return the coefficients of observables in products of Paulis, divided by the dimension.

    Args:
        observables: `(k, 2^n, 2^n)`, Hermitian.
        basis: `(m, 2, 2)`, the Paulis of a qubit.

    Returns:
        `(m^n, k)` float64; the last qubit's Pauli varies fastest.
    """
    k, dim, _ = observables.shape
    table = observables.reshape(k, dim, dim, 1)
    while table.shape[1] > 1:
        half = table.shape[1] // 2
        split = table.reshape(k, 2, half, 2, half, -1)
        table = torch.einsum("karbcp,qba->krcpq", split, basis).flatten(start_dim=3)
    return table.reshape(k, -1).real.T / dim


def paulis(axes: str) -> Tensor:
    """Return `(len(axes), 2, 2)` complex128 matrices of I, X, Y, Z."""
    matrices = {
        "I": [[1, 0], [0, 1]],
        "X": [[0, 1], [1, 0]],
        "Y": [[0, -1j], [1j, 0]],
        "Z": [[1, 0], [0, -1]],
    }
    return torch.tensor([matrices[axis] for axis in axes], dtype=torch.complex128)


def z_signs(n_qubits: int) -> Tensor:
    """Return the eigenvalue of Z on each qubit for each basis state: `(n, 2^n)` complex128."""
    states = torch.arange(2**n_qubits)
    shifts = torch.arange(n_qubits - 1, -1, -1)
    return (1 - 2 * ((states[None] >> shifts[:, None]) & 1)).to(torch.complex128)


def _rotations(angles: Tensor) -> Tensor:
    """Map `(..., 3)` angles to `(..., 2, 2)` of `qml.Rot`: RZ(omega) RY(theta) RZ(phi)."""
    phi, theta, omega = angles.unbind(dim=-1)
    cos, sin = (theta / 2).cos(), (theta / 2).sin()
    plus = torch.exp(0.5j * (phi + omega))
    minus = torch.exp(0.5j * (phi - omega))
    rows = [cos * plus.conj(), -sin * minus, sin * minus.conj(), cos * plus]
    return torch.stack(rows, dim=-1).reshape(*phi.shape, 2, 2)


def _coupling(angles: Tensor) -> Tensor:
    """Return exp(-i/2 (a XX + b YY + c ZZ)); the three terms commute."""
    gate = torch.eye(4, dtype=torch.complex128)
    for angle, pauli in zip(angles, paulis("XYZ"), strict=True):
        term = torch.kron(pauli, pauli)
        identity = torch.eye(4, dtype=torch.complex128)
        gate = ((angle / 2).cos() * identity - 1j * (angle / 2).sin() * term) @ gate
    return gate


def _entangler(n_qubits: int, layer: int) -> Tensor:
    """Return the ring of CNOTs of a layer, as row indices of the matrix it is applied to."""
    reach = layer % (n_qubits - 1) + 1
    rows = torch.arange(2**n_qubits)
    for control in reversed(range(n_qubits)):
        target = (control + reach) % n_qubits
        bit = (rows >> (n_qubits - 1 - control)) & 1
        rows = rows ^ (bit << (n_qubits - 1 - target))
    return rows
