"""The circuits, as PennyLane quantum functions with their sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MIN_QUBITS = 2
MAX_QUBITS = 8


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit whose read-outs are linear in products of `{1, cos x_i, sin x_i}`.

    Attributes:
        name: with the sizes, such as `vqc-n4-l2`.
        n_inputs: angles, in radians; each is encoded once.
        n_outputs: expectation values, each in [-1, 1].
        n_qubits: wires.
        weight_shape: of the trained rotation angles, in radians.
        function: `(inputs, weights)` to the PennyLane measurements.
    """

    name: str
    n_inputs: int
    n_outputs: int
    n_qubits: int
    weight_shape: tuple[int, ...]
    function: Callable[[Any, Any], Sequence[Any]]


def make_vqc(n_qubits: int, n_layers: int) -> Circuit:
    """Angle encoding by RY, strongly entangling layers, Z read out on each qubit.

    The ansatz is `qml.StronglyEntanglingLayers` (Schuld et al. 2018, arXiv 1804.00633).

    Raises:
        ValueError: for a number of qubits outside 2 to 8, or no layer.
    """
    if not MIN_QUBITS <= n_qubits <= MAX_QUBITS:
        raise ValueError(f"vqc has {MIN_QUBITS} to {MAX_QUBITS} qubits, not {n_qubits}")
    if n_layers < 1:
        raise ValueError(f"vqc needs at least one layer, not {n_layers}")

    def vqc(inputs: Any, weights: Any) -> list[Any]:
        import pennylane as qml

        for wire in range(n_qubits):
            qml.RY(inputs[..., wire], wires=wire)
        qml.StronglyEntanglingLayers(weights, wires=range(n_qubits))
        return [qml.expval(qml.PauliZ(wire)) for wire in range(n_qubits)]

    return Circuit(
        name=f"vqc-n{n_qubits}-l{n_layers}",
        n_inputs=n_qubits,
        n_outputs=n_qubits,
        n_qubits=n_qubits,
        weight_shape=(n_layers, n_qubits, 3),
        function=vqc,
    )
