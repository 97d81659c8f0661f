"""`qlumen quantum draw`: a circuit as text or SVG."""

from pathlib import Path

import click

from qlumen.errors import UsageError
from qlumen.quantum.circuits import CIRCUITS, MAX_QUBITS, MIN_QUBITS, make_circuit
from qlumen.quantum.drawing import draw_svg, draw_text


@click.group("quantum")
def command() -> None:
    """Look at the circuits."""


@command.command("draw")
@click.argument("name", type=click.Choice(CIRCUITS))
@click.option("--qubits", type=click.IntRange(MIN_QUBITS, MAX_QUBITS), default=4,
              show_default=True, help="Of the vqc; hqconv has 16.")  # fmt: skip
@click.option("--layers", type=click.IntRange(min=1), default=2, show_default=True,
              help="Of the vqc, or filters of each pass of hqconv.")  # fmt: skip
@click.option("--reuploading", is_flag=True, help="The vqc encodes before each layer.")
@click.option("--output", type=click.Path(path_type=Path), help="File: .txt or .svg.")
def draw(name: str, qubits: int, layers: int, reuploading: bool, output: Path | None) -> None:
    """Print a circuit's drawing, and save it if told to."""
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
