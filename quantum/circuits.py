"""Defines the circuits as PennyLane quantum functions with their sizes.

    vqc     RY per input, strongly entangling layers, Z on each qubit
    hqconv  a square grid of qubits: RX, RY, RZ per cell, a two-qubit filter shared along
            all rows, another shared along all columns, Z and X on each qubit

PennyLane is imported when a circuit runs, so that a compiled network does not need it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

Encoding = Literal["fourier", "bloch"]

CIRCUITS = ("vqc", "hqconv")
MIN_QUBITS = 2
MAX_QUBITS = 8
MIN_SIDE = 2
MAX_SIDE = 4
FILTER_ANGLES = 15
"""Angles of any two-qubit gate: two rotations of 3, three couplings, two rotations of 3."""
ANGLES_PER_CELL = 3


@dataclass(frozen=True, slots=True)
class Circuit:
    """Describes a circuit and what its exact tables need. It can be pickled.

    Attributes:
        name: name with the sizes, such as `vqc-n4-l2`.
        n_inputs: number of input angles, in radians.
        n_outputs: number of expectation values, each in [-1, 1].
        weight_shape: shape of the trained rotation angles, in radians.
        function: PennyLane function of `(inputs, weights)` that returns the measurements.
        encoding: `fourier` if each input is the angle of its own rotations, so that the outputs
            are trigonometric polynomials; `bloch` if each qubit takes three inputs, RX, RY and
            RZ in a row on |0>, so that the outputs are linear in products of Bloch vectors.
        uploads: number of times each input is encoded, which is the polynomial's degree.
        parts: circuits along a row and along a column that this one factors into exactly.
    """

    name: str
    n_inputs: int
    n_outputs: int
    n_qubits: int
    weight_shape: tuple[int, ...]
    function: Callable[[Any, Any], Sequence[Any]]
    encoding: Encoding = "fourier"
    uploads: int = 1
    parts: "tuple[Circuit, Circuit] | None" = None


def make_circuit(name: str, qubits: int, layers: int, reuploading: bool = False) -> Circuit:
    """Make a `vqc` of these sizes, or an `hqconv`, which always has 16 qubits.

    Raises:
        ValueError: the name is unknown, or the circuit does not exist in these sizes.
    """
    if name == "vqc":
        return make_vqc(qubits, layers, reuploading)
    if name == "hqconv":
        return make_hqconv(layers)
    raise ValueError(f"circuit {name!r} is unknown; use one of: {', '.join(CIRCUITS)}")


def make_vqc(n_qubits: int, n_layers: int, reuploading: bool = False) -> Circuit:
    """Make a circuit of RY encoding, strongly entangling layers and Z on each qubit.

    The ansatz is `qml.StronglyEntanglingLayers` (Schuld et al. 2018, arXiv 1804.00633).

    Args:
        reuploading: True to encode the inputs again before each layer (Perez-Salinas et al.
            2020, arXiv 1907.02085), which makes the polynomial's degree `n_layers`.

    Raises:
        ValueError: the number of qubits is outside 2 to 8, or there is no layer.
    """
    if not MIN_QUBITS <= n_qubits <= MAX_QUBITS:
        raise ValueError(f"vqc has {MIN_QUBITS} to {MAX_QUBITS} qubits, not {n_qubits}")
    _check_layers("vqc", n_layers)
    return Circuit(
        name=f"vqc-n{n_qubits}-l{n_layers}" + ("-reuploading" if reuploading else ""),
        n_inputs=n_qubits,
        n_outputs=n_qubits,
        n_qubits=n_qubits,
        weight_shape=(n_layers, n_qubits, 3),
        function=partial(_vqc, n_qubits=n_qubits, reuploading=reuploading),
        uploads=n_layers if reuploading else 1,
    )


def make_hqconv(n_layers: int = 1, side: int = 4) -> Circuit:
    """Make a separable quantum convolution on a grid, after HQ-UNet (arXiv 2604.27206).

    Input `3 * cell + i` is the angle of RX, RY, RZ (i = 0, 1, 2) on cell `side * row +
    column`. Output `2 * cell` is its Z, `2 * cell + 1` its X. No qubit is dropped.

    Args:
        n_layers: sweeps of a filter along each row, and after all of them along each column.
        side: cells of a row; 4 for the network, less for tests.

    Raises:
        ValueError: the side is outside 2 to 4, or there is no layer.
    """
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise ValueError(f"hqconv has a side of {MIN_SIDE} to {MAX_SIDE}, not {side}")
    _check_layers("hqconv", n_layers)
    cells = side * side
    return Circuit(
        name=f"hqconv-{side}x{side}-l{n_layers}",
        n_inputs=ANGLES_PER_CELL * cells,
        n_outputs=2 * cells,
        n_qubits=cells,
        weight_shape=(2, n_layers, FILTER_ANGLES),
        function=partial(_hqconv, side=side),
        encoding="bloch",
        parts=(
            _make_line("row", n_layers, side, "XYZ"),
            _make_line("column", n_layers, side, "ZX"),
        ),
    )


def _make_line(name: str, n_layers: int, side: int, axes: str) -> Circuit:
    """Make one row or column of `hqconv` as a circuit of its own."""
    return Circuit(
        name=f"hqconv-{name}-n{side}-l{n_layers}",
        n_inputs=ANGLES_PER_CELL * side,
        n_outputs=len(axes) * side,
        n_qubits=side,
        weight_shape=(n_layers, FILTER_ANGLES),
        function=partial(_line, side=side, axes=axes),
        encoding="bloch",
    )


def _check_layers(name: str, n_layers: int) -> None:
    if n_layers < 1:
        raise ValueError(f"{name} needs at least one layer, not {n_layers}")


def _vqc(inputs: Any, weights: Any, *, n_qubits: int, reuploading: bool) -> list[Any]:
    import pennylane as qml

    wires = range(n_qubits)
    for layer in range(len(weights)):
        if layer == 0 or reuploading:
            for wire in wires:
                qml.RY(inputs[..., wire], wires=wire)
        reach = layer % (n_qubits - 1) + 1
        qml.StronglyEntanglingLayers(weights[layer : layer + 1], wires=wires, ranges=[reach])
    return [qml.expval(qml.PauliZ(wire)) for wire in wires]


def _hqconv(inputs: Any, weights: Any, *, side: int) -> list[Any]:
    cells = range(side * side)
    _encode(inputs, cells)
    for row in range(side):
        _sweep(weights[0], cells[row * side : (row + 1) * side])
    for column in range(side):
        _sweep(weights[1], cells[column::side])
    return _read_out(cells, "ZX")


def _line(inputs: Any, weights: Any, *, side: int, axes: str) -> list[Any]:
    _encode(inputs, range(side))
    _sweep(weights, range(side))
    return _read_out(range(side), axes)


def _encode(inputs: Any, wires: Sequence[int]) -> None:
    import pennylane as qml

    for wire in wires:
        for i, rotation in enumerate((qml.RX, qml.RY, qml.RZ)):
            rotation(inputs[..., ANGLES_PER_CELL * wire + i], wires=wire)


def _sweep(weights: Any, wires: Sequence[int]) -> None:
    """Apply one filter per layer to each pair of neighbours, from first to last."""
    for layer in range(len(weights)):
        for pair in itertools.pairwise(wires):
            _filter(weights[layer], pair)


def _filter(angles: Any, pair: tuple[int, int]) -> None:
    """Apply any two-qubit gate, up to phase, by the Cartan decomposition of SU(4)."""
    import pennylane as qml

    for start, wire in ((0, pair[0]), (3, pair[1])):
        qml.Rot(angles[start], angles[start + 1], angles[start + 2], wires=wire)
    for start, coupling in ((6, qml.IsingXX), (7, qml.IsingYY), (8, qml.IsingZZ)):
        coupling(angles[start], wires=pair)
    for start, wire in ((9, pair[0]), (12, pair[1])):
        qml.Rot(angles[start], angles[start + 1], angles[start + 2], wires=wire)


def _read_out(wires: Sequence[int], axes: str) -> list[Any]:
    import pennylane as qml

    paulis = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    return [qml.expval(paulis[axis](wire)) for wire in wires for axis in axes]
