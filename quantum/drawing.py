"""Drawings of the circuits, as text and as SVG."""

from html import escape

import numpy as np

from qlumen.quantum.circuits import Circuit

CHARACTER_PX = 7.8
LINE_PX = 18
MARGIN_PX = 16
TEXT_WIDTH = 160
"""Characters after which a drawing is continued below."""


def draw_text(circuit: Circuit) -> str:
    """The circuit as PennyLane draws it; a circuit with parts as its parts, which repeat."""
    if circuit.parts is None:
        return _draw(circuit)
    row, column = circuit.parts
    heading = (
        f"{circuit.name}: {circuit.n_qubits} qubits on a grid. Each row, after its encoding, "
        "goes through:"
    )
    then = "then each column goes through (encoding aside), and Z and X are read out:"
    return "\n".join([heading, "", _draw(row), "", then, "", _draw(column)])


def draw_svg(text: str) -> str:
    """A drawing in text, as a picture of its lines."""
    lines = text.split("\n")
    width = round(2 * MARGIN_PX + CHARACTER_PX * max(map(len, lines)))
    height = 2 * MARGIN_PX + LINE_PX * len(lines)
    rows = "\n".join(
        f'<text x="{MARGIN_PX}" y="{MARGIN_PX + LINE_PX * (i + 1) - 5}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" '
        f'xml:space="preserve">\n<rect width="100%" height="100%" fill="white"/>\n{rows}\n</svg>\n'
    )


def _draw(circuit: Circuit) -> str:
    import pennylane as qml

    inputs, weights = np.zeros(circuit.n_inputs), np.zeros(circuit.weight_shape)
    device = qml.device("default.qubit", wires=circuit.n_qubits)
    node = qml.QNode(circuit.function, device)
    drawer = qml.draw(node, decimals=None, level="device", max_length=TEXT_WIDTH)
    return str(drawer(inputs, weights))
