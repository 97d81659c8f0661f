"""Computes the circuits by dense matrices over the whole register, with numpy only.

It is slow and simple: every gate is a Kronecker product of 2x2 matrices, wire 0 leftmost.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]
I2 = np.eye(2, dtype=complex)
X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]], dtype=complex)
Z = np.array([[1, 0], [0, -1]], dtype=complex)
ZERO, ONE = np.diag([1, 0]).astype(complex), np.diag([0, 1]).astype(complex)


def vqc(angles: NDArray, weights: NDArray, reuploading: bool) -> NDArray:
    """Return Z of each qubit for one set of inputs."""
    n = weights.shape[1]
    state = ground_state(n)
    for layer, rotations in enumerate(weights):
        if layer == 0 or reuploading:
            for wire in range(n):
                state = on_wires({wire: turn(Y, angles[wire])}, n) @ state
        for wire, (phi, theta, omega) in enumerate(rotations):
            state = on_wires({wire: turn(Z, phi)}, n) @ state
            state = on_wires({wire: turn(Y, theta)}, n) @ state
            state = on_wires({wire: turn(Z, omega)}, n) @ state
        for wire in range(n):
            reach = layer % (n - 1) + 1
            state = controlled_not(wire, (wire + reach) % n, n) @ state
    return np.array([expectation(state, {wire: Z}) for wire in range(n)])


def hqconv(angles: NDArray, weights: NDArray, side: int) -> NDArray:
    """Return Z and X of each cell for one set of inputs."""
    n = side * side
    state = ground_state(n)
    for cell in range(n):
        for axis, angle in zip((X, Y, Z), angles[3 * cell : 3 * cell + 3], strict=True):
            state = on_wires({cell: turn(axis, angle)}, n) @ state
    rows = [[side * r + c for c in range(side)] for r in range(side)]
    columns = [[side * r + c for r in range(side)] for c in range(side)]
    for lines, layers in ((rows, weights[0]), (columns, weights[1])):
        for line in lines:
            for gate in layers:
                for i in range(side - 1):
                    state = two_qubit_filter(state, gate, line[i], line[i + 1], n)
    return np.array([expectation(state, {cell: axis}) for cell in range(n) for axis in (Z, X)])


def two_qubit_filter(state: Matrix, gate: NDArray, a: int, b: int, n: int) -> Matrix:
    rotations = ((a, gate[0:3]), (b, gate[3:6]))
    after = ((a, gate[9:12]), (b, gate[12:15]))
    state = _rotate(state, rotations, n)
    for axis, angle in zip((X, Y, Z), gate[6:9], strict=True):
        coupling = on_wires({a: axis, b: axis}, n)
        state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * (coupling @ state)
    return _rotate(state, after, n)


def ground_state(n: int) -> Matrix:
    state = np.zeros(2**n, complex)
    state[0] = 1
    return state


def turn(axis: Matrix, angle: float) -> Matrix:
    """Return exp(-i angle axis / 2)."""
    return np.cos(angle / 2) * I2 - 1j * np.sin(angle / 2) * axis


def on_wires(matrices: dict[int, Matrix], n: int) -> Matrix:
    return reduce(np.kron, [matrices.get(wire, I2) for wire in range(n)])


def controlled_not(control: int, target: int, n: int) -> Matrix:
    return on_wires({control: ZERO}, n) + on_wires({control: ONE, target: X}, n)


def expectation(state: Matrix, matrices: dict[int, Matrix]) -> float:
    n = len(state).bit_length() - 1
    return float((state.conj() @ on_wires(matrices, n) @ state).real)


def _rotate(state: Matrix, rotations: tuple, n: int) -> Matrix:
    for wire, (phi, theta, omega) in rotations:
        state = on_wires({wire: turn(Z, omega) @ turn(Y, theta) @ turn(Z, phi)}, n) @ state
    return state
