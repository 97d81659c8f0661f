import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from qlumen.realtime.cli import COMMANDS, commands

HEAVY = ("av", "cv2", "gradio", "numba", "numpy", "openvino", "pennylane", "pydantic", "torch")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    """`qlumen --help` needs only click, so it answers fast."""
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
    """Every entry of the table is a command with help."""
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


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        ("resource", ["profile", "scene"], r"needs a POSIX system .* has no resource$"),
        ("torch", ["train", "--help"], r"needs torch: pip install 'qlumen\[train\]'$"),
        ("gradio", ["view", "--port", "0"], r"needs gradio, .*: pip install qlumen;"),
    ],
)
def test_a_missing_module_is_an_error_that_says_what_to_do(
    missing: str, arguments: list[str], message: str
) -> None:
    """The error is the same if the command imports it at its start or while it runs."""
    result = run(*arguments, missing=missing)
    assert result.returncode == 2
    assert re.search(message, result.stderr.strip()), result.stderr
    assert result.stderr.count("\n") == 1


def test_the_page_needs_no_posix_module() -> None:
    """It starts where Python has no `resource`, as on Windows, and ends when it is told to."""
    command = command_without("resource", "view", "--port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.terminate()
        assert "http://127.0.0.1" in first
        assert process.wait(60) == 0


def test_a_missing_module_of_our_own_is_shown_as_a_fault() -> None:
    result = run("replay", "scene", missing="qlumen.realtime.replay")
    assert "Traceback" in result.stderr


def run(*arguments: str, missing: str = "") -> "subprocess.CompletedProcess[str]":
    """Run qlumen in a Python that cannot find the module `missing`."""
    return subprocess.run(command_without(missing, *arguments), capture_output=True, text=True)


def command_without(missing: str, *arguments: str) -> list[str]:
    code = f"""
import sys
from importlib.abc import MetaPathFinder
import psutil  # on Linux it needs `resource`, which it does not elsewhere


class Without(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Without())
sys.modules.pop({missing!r}, None)
from qlumen.realtime.cli import main
main()
"""
    return [sys.executable, "-c", code, *arguments]
