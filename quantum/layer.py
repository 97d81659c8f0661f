"""Runs the circuit as a torch layer for training.

The weights are the same for every position of a batch. `backprop` builds the circuit's table
of coefficients, or each layer's unitary with re-uploading. It builds them once a step,
differentiably, and applies them to all positions. The table is contracted in the Pauli basis.
With the encoded qubit state (I + cos x Z + sin x X) / 2 and U the ansatz:

    <Z_k> = sum over B in {I, Z, X}^n of Tr(U^dagger Z_k U B) / 2^n * product of {1, cos, sin}.

`adjoint` and `parameter-shift` run the circuit on a device for each position. They train where
no table is possible: large circuits and hardware. PennyLane rounds the gradient that reaches
them to single precision.
"""

import math
from math import isqrt
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from qlumen.quantum.circuits import Circuit
from qlumen.quantum.devices import Device
from qlumen.quantum.modules import separable_outputs, trigonometric_products
from qlumen.quantum.unitaries import (
    entangling_unitary,
    pauli_coefficients,
    paulis,
    sweep_observables,
    vqc_observables,
    z_signs,
)

Differentiation = Literal["backprop", "adjoint", "parameter-shift"]
METHODS: tuple[Differentiation, ...] = get_args(Differentiation)


class QuantumLayer(nn.Module):
    """Maps `(rows, n_inputs)` angles in radians to `(rows, n_outputs)` expectation values.

    Tables are made on the CPU, wherever the layer is, because their matrices are small.

    Args:
        method: differentiation, one of `METHODS`.
        device: device that runs the circuit, except with `backprop`.
    """

    def __init__(
        self,
        circuit: Circuit,
        method: Differentiation = "backprop",
        device: str = "lightning.qubit",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"differentiation {method!r} is unknown; use {', '.join(METHODS)}")
        self.circuit, self.method, self.device = circuit, method, device
        self.weights = nn.Parameter(2 * math.pi * torch.rand(circuit.weight_shape))

    def forward(self, angles: Tensor) -> Tensor:
        if self.method != "backprop":
            return self._live(angles)
        if self.circuit.parts:
            return self._grid(angles)
        if self.circuit.uploads > 1:
            # Complex numbers of half precision cannot be computed with.
            exact = angles if angles.dtype == torch.float64 else angles.float()
            return reuploading_vqc(exact.cpu(), self.weights.cpu()).to(angles)
        table = vqc_table(self.weights.cpu(), self.circuit.n_qubits).to(angles)
        return trigonometric_products(angles) @ table

    def _grid(self, angles: Tensor) -> Tensor:
        side = isqrt(self.circuit.n_qubits)
        tables = [
            line_table(weights, side, axes).to(angles)
            for weights, axes in zip(self.weights.cpu(), ("XYZ", "ZX"), strict=True)
        ]
        return separable_outputs(angles, tables[0], tables[1], side)

    def _live(self, angles: Tensor) -> Tensor:
        import pennylane as qml

        Device(self.device).check(self.circuit)
        device = qml.device(self.device, wires=self.circuit.n_qubits)
        node = qml.QNode(self.circuit.function, device, interface="torch", diff_method=self.method)
        inputs, weights = angles.double().cpu(), self.weights.double().cpu()
        rows: list[Any] = [torch.stack(node(row, weights)) for row in inputs]
        return torch.stack(rows).to(angles)


def vqc_table(weights: Tensor, n_qubits: int) -> Tensor:
    """Return the coefficients of the `vqc` read-outs, differentiable in the weights.

    Args:
        weights: `(layers, n, 3)`, radians.

    Returns:
        `(3^n, n)` float64, rows ordered as in `trigonometric_products`.
    """
    return pauli_coefficients(vqc_observables(weights, n_qubits), paulis("IZX"))


def line_table(weights: Tensor, n_qubits: int, axes: str) -> Tensor:
    """Return the coefficients of a row (`XYZ`) or column (`ZX`) of `hqconv`.

    Args:
        weights: `(layers, 15)`, radians.

    Returns:
        `(4^n, n len(axes))` float64, rows ordered as products of `bloch_vectors`.
    """
    return pauli_coefficients(sweep_observables(weights, n_qubits, axes), paulis("IXYZ"))


def reuploading_vqc(angles: Tensor, weights: Tensor) -> Tensor:
    """Simulate the re-uploading `vqc`: apply each layer as one matrix to every position's state.

    Args:
        angles: `(rows, n)`, radians.
        weights: `(layers, n, 3)`, radians.

    Returns:
        `(rows, n)` in the dtype of `angles`.
    """
    rows, n = angles.shape
    complex_ = torch.complex128 if angles.dtype == torch.float64 else torch.complex64
    states = torch.zeros(rows, 2**n, dtype=complex_)
    states[:, 0] = 1
    for layer in range(len(weights)):
        unitary = entangling_unitary(weights[layer : layer + 1], n, first_layer=layer)
        states = _encode(states, angles) @ unitary.to(states.dtype).T
    return (states.abs() ** 2) @ z_signs(n).real.to(angles.dtype).T


def _encode(states: Tensor, angles: Tensor) -> Tensor:
    """Apply RY of each angle to its qubit."""
    rows, n = angles.shape
    cos, sin = (angles / 2).cos(), (angles / 2).sin()
    for wire in range(n):
        c, s = cos[:, wire, None, None], sin[:, wire, None, None]
        zero, one = states.reshape(rows, 2**wire, 2, -1).unbind(dim=2)
        states = torch.stack([c * zero - s * one, s * zero + c * one], dim=2).reshape(rows, -1)
    return states
