from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from qlumen.errors import UsageError
from qlumen.quantum.circuits import make_hqconv, make_vqc
from qlumen.quantum.command import command, draw_svg, draw_text


def test_every_qubit_has_a_line() -> None:
    """Each of four wires is encoded, turned twice and read out."""
    lines = draw_text(make_vqc(4, 2)).split("\n")
    assert len(lines) == 4
    assert all(line.count("RY") == 1 and line.count("Rot") == 2 for line in lines)
    assert all(line.endswith("<Z>") for line in lines)


def test_reuploading_is_drawn() -> None:
    """The encoding is drawn before each layer."""
    assert draw_text(make_vqc(2, 3, True)).count("RY") == 6


def test_grid_is_drawn_as_a_row_and_a_column() -> None:
    """Each has three filters; the row shows X, Y, Z and the column Z, X."""
    text = draw_text(make_hqconv(1))
    assert text.count("IsingXX") == 2 * 3 * 2  # two passes, three pairs, both wires
    assert "<X>  <Y>  <Z>" in text
    assert "<Z>  <X>" in text


def test_svg_holds_the_same_lines() -> None:
    """The SVG is XML with one text element per line."""
    text = draw_text(make_vqc(2, 1))
    root = ElementTree.fromstring(draw_svg(text))
    assert [element.text for element in root if element.tag.endswith("text")] == text.split("\n")


@pytest.mark.parametrize("name", ["drawing.txt", "drawing.svg"])
def test_command_prints_and_saves(tmp_path: Path, name: str) -> None:
    """The file holds the printed drawing."""
    path = tmp_path / name
    result = CliRunner().invoke(command, ["draw", "vqc", "--qubits", "3", "--output", str(path)])
    assert result.exit_code == 0
    first = result.output.split("\n")[0].split("┤")[0]
    assert first in path.read_text(encoding="utf-8")


def test_command_refuses_other_formats(tmp_path: Path) -> None:
    """The message lists the possible formats."""
    arguments = ["draw", "hqconv", "--output", str(tmp_path / "drawing.gif")]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)
    assert ".txt or .svg" in str(result.exception)
