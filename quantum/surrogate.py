"""The exact cache: a circuit with frozen weights as a finite table of coefficients.

Each input angle is encoded once by a rotation, so every expectation value is linear in
the products of one of {1, cos x_i, sin x_i} per input: 3^n coefficients per read-out.
Sampling the circuit where each angle takes the values 0, 2 pi/3 and 4 pi/3 gives as many
equations as coefficients, and they separate by input. No approximation is involved.

Schreiber, Eisert, Meyer, "Classical surrogates for quantum learning models" (2022).
"""

import hashlib
import itertools
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from qlumen.quantum.circuits import Circuit

FloatArray = NDArray[np.float64]
SAMPLES: FloatArray = np.array([0.0, 2 * pi / 3, 4 * pi / 3])
"""The angles, in radians, that determine a + b cos x + c sin x."""


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """Attributes:
    table: `(3^n, n_outputs) float64`; the last input's factor varies fastest.
    circuit_runs: executions of the circuit that it took.
    device: PennyLane's name of what ran them.
    """

    table: FloatArray
    circuit_runs: int
    device: str

    def __call__(self, angles: FloatArray) -> FloatArray:
        """`(rows, n)` angles in radians to `(rows, n_outputs)` expectation values."""
        return trigonometric_products(angles) @ self.table


def sample_surrogate(
    circuit: Circuit, weights: FloatArray, device: str = "lightning.qubit"
) -> Surrogate:
    """Run `circuit` with frozen `weights` on the grid of angles and solve for its table."""
    n = circuit.n_inputs
    grid = np.array(list(itertools.product(SAMPLES, repeat=n)))
    samples = run_circuit(circuit, weights, grid, device)
    to_coefficients = np.linalg.inv(_factors(SAMPLES))
    table = samples.reshape([3] * n + [circuit.n_outputs])
    for axis in range(n):
        table = np.moveaxis(np.tensordot(to_coefficients, table, axes=(1, axis)), 0, axis)
    return Surrogate(table.reshape(3**n, circuit.n_outputs), len(grid), device)


def run_circuit(
    circuit: Circuit, weights: FloatArray, angles: FloatArray, device: str
) -> FloatArray:
    """Execute the circuit once for each row of `(rows, n_inputs)` angles in radians."""
    import pennylane as qml

    node = qml.QNode(circuit.function, qml.device(device, wires=circuit.n_qubits))
    return np.array([node(row, weights) for row in angles], dtype=np.float64)


def trigonometric_products(angles: FloatArray) -> FloatArray:
    """All products of one of `1, cos x_i, sin x_i` per input: `(rows, n)` to `(rows, 3^n)`."""
    products = np.ones((len(angles), 1))
    for column in angles.T:
        products = (products[:, :, None] * _factors(column)[:, None, :]).reshape(len(angles), -1)
    return products


def array_sha256(array: FloatArray) -> str:
    """Hash of an array's shape and values."""
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def _factors(x: FloatArray) -> FloatArray:
    return np.stack([np.ones_like(x), np.cos(x), np.sin(x)], axis=-1)
