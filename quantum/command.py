"""Draws a circuit as text or SVG for `qlumen quantum draw`."""

from html import escape
from pathlib import Path

import click
import numpy as np

from qlumen.errors import UsageError
from qlumen.quantum.circuits import CIRCUITS, MAX_QUBITS, MIN_QUBITS, Circuit, make_circuit

CHARACTER_PX = 7.8
LINE_PX = 18
MARGIN_PX = 16
TEXT_WIDTH = 160
"""Characters of a line, after which a drawing continues below."""


@click.group("quantum")
def command() -> None:
    """Show the circuits."""


@command.command("draw")
@click.argument("name", type=click.Choice(CIRCUITS))
@click.option("--qubits", type=click.IntRange(MIN_QUBITS, MAX_QUBITS), default=4,
              show_default=True, help="Qubits of the vqc; hqconv has 16.")  # fmt: skip
@click.option("--layers", type=click.IntRange(min=1), default=2, show_default=True,
              help="Layers of the vqc, or filters of each pass of hqconv.")  # fmt: skip
@click.option("--reuploading", is_flag=True, help="Encode the vqc's inputs before each layer.")
@click.option("--output", type=click.Path(path_type=Path), help="File to save: .txt or .svg.")
def draw(name: str, qubits: int, layers: int, reuploading: bool, output: Path | None) -> None:
    """Print the drawing of a circuit, and save it with --output."""
    if output and output.suffix not in (".txt", ".svg"):
        raise UsageError(f"--output {output}: a drawing is .txt or .svg, not {output.suffix!r}")
    text = draw_text(make_circuit(name, qubits, layers, reuploading))
    click.echo(text)
    if output:
        try:
            output.write_text(
                draw_svg(text) if output.suffix == ".svg" else text + "\n", encoding="utf-8"
            )
        except OSError as error:
            raise UsageError(f"--output {output}: {error.strerror}; name another file") from None


def draw_text(circuit: Circuit) -> str:
    """Draw a circuit as PennyLane does; of a circuit with parts draw each part once."""
    if circuit.parts is None:
        return _draw(circuit)
    row, column = circuit.parts
    heading = (
        f"{circuit.name}: {circuit.n_qubits} qubits on a grid. Each row, after its encoding, "
        "goes through:"
    )
    then = "then each column goes through, without the encoding, and Z and X are read out:"
    return "\n".join([heading, "", _draw(row), "", then, "", _draw(column)])


def draw_svg(text: str) -> str:
    """Draw the lines of a text drawing as SVG."""
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
