import subprocess
import sys

import pytest
from click.testing import CliRunner

from qlumen.realtime.cli import COMMANDS, commands

HEAVY = ("av", "cv2", "gradio", "numba", "numpy", "openvino", "pennylane", "pydantic", "torch")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    """`qlumen --help` needs click alone, so that it answers at once."""
    code = (
        "import sys; from qlumen.realtime.cli import commands\n"
        "try: commands(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in result.stdout
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(name: str) -> None:
    """Every entry of the table leads to a command with help."""
    result = CliRunner().invoke(commands, [name, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["replay"], ["replay", "scene", "--limit", "0"], ["--nonsense"]]
)
def test_usage_errors_exit_with_2(arguments: list[str]) -> None:
    """An unknown command or option, or a missing argument, ends with code 2 and a hint."""
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


def test_version_is_the_installed_one() -> None:
    """`--version` prints what the package metadata says."""
    assert run("--version").stdout.startswith("qlumen, version 0.")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "from qlumen.realtime.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
