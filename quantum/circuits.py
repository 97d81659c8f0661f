"""The circuits, as PennyLane quantum functions with their sizes.

    vqc     RY per input, strongly entangling layers, Z on each qubit
    hqconv  a square grid of qubits: RX, RY, RZ per cell, a two-qubit filter shared along
            all rows, another shared along all columns, Z and X on each qubit

PennyLane is imported when a circuit is run, so that a compiled network needs none of it.
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
"""Of any two-qubit gate: two rotations of 3, three couplings, two rotations of 3."""
ANGLES_PER_CELL = 3


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit and what is needed to cache it exactly. It can be pickled.

    Attributes:
        name: with the sizes, such as `vqc-n4-l2`.
        n_inputs: angles, in radians.
        n_outputs: expectation values, each in [-1, 1].
        n_qubits: wires.
        weight_shape: of the trained rotation angles, in radians.
        function: `(inputs, weights)` to the PennyLane measurements.
        encoding: `fourier`: each input is the angle of rotations of its own, so the outputs
            are trigonometric polynomials. `bloch`: each qubit takes three inputs, RX, RY,
            RZ in a row on |0>, so the outputs are linear in products of Bloch vectors.
        uploads: times each input is encoded; the degree of the polynomial.
        parts: circuits that this one factors into exactly: along a row, along a column.
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
    """`vqc` of these sizes, or `hqconv`, which always has 16 qubits.

    Raises:
        ValueError: an unknown name, or sizes that the circuit does not come in.
    """
    if name == "vqc":
        return make_vqc(qubits, layers, reuploading)
    if name == "hqconv":
        return make_hqconv(layers)
    raise ValueError(f"circuit {name!r} is unknown; use one of: {', '.join(CIRCUITS)}")


def make_vqc(n_qubits: int, n_layers: int, reuploading: bool = False) -> Circuit:
    """Angle encoding by RY, strongly entangling layers, Z read out on each qubit.

    The ansatz is `qml.StronglyEntanglingLayers` (Schuld et al. 2018, arXiv 1804.00633).

    Args:
        reuploading: encode the inputs again before each layer (Perez-Salinas et al. 2020,
            arXiv 1907.02085), which makes the polynomial's degree `n_layers`.

    Raises:
        ValueError: for a number of qubits outside 2 to 8, or no layer.
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
    """A separable quantum convolution on a grid, after HQ-UNet (arXiv 2604.27206).

    Input `3 * cell + i` is the angle of RX, RY, RZ (i = 0, 1, 2) on cell `side * row +
    column`; output `2 * cell` is its Z, `2 * cell + 1` its X. No qubit is dropped.

    Args:
        n_layers: sweeps of a filter along each row, and after all of them along each column.
        side: cells of a row; 4 for the network, less for tests.

    Raises:
        ValueError: for a side outside 2 to 4, or no layer.
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
    """One row or column of `hqconv` by itself."""
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
    """One filter per layer, over each pair of neighbours from first to last."""
    for layer in range(len(weights)):
        for pair in itertools.pairwise(wires):
            _filter(weights[layer], pair)


def _filter(angles: Any, pair: tuple[int, int]) -> None:
    """Any two-qubit gate, up to phase, by the Cartan decomposition of SU(4)."""
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
