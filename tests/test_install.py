"""Installs the wheel into empty environments, with and without a package index, and uses it.

`make test-install` runs it. `make check` leaves it out.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).resolve().parents[1]
METADATA = re.compile(r"qlumen-[\d.]+\.dist-info/")
LARGEST_WHEEL = 40 << 20
NO_CONFIGURATION = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Make a folder that is removed at the end; the environments are large."""
    with TemporaryDirectory(prefix="qlumen-install-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """Build the wheel from what the Dockerfile's first stage gets."""
    left_out = (ROOT / "deploy/Dockerfile.dockerignore").read_text("utf-8").split()
    names = shutil.ignore_patterns(*(one.removeprefix("**/") for one in left_out))
    source = shutil.copytree(ROOT, folder / "source", ignore=names)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder / "dist", source)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheelhouse(folder: Path, wheel: Path) -> Path:
    """Collect the wheel and all that it requires, as `make wheelhouse` does."""
    house = folder / "wheelhouse"
    pip(sys.executable, "wheel", "-c", ROOT / "constraints.txt", "--wheel-dir", house, wheel)
    return house


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    """Install the wheel with the constraints; return the environment's programs."""
    programs = make_environment(folder / "online")
    pip(programs / "python", "install", "-c", ROOT / "constraints.txt", wheel)
    return programs


def test_wheel_holds_what_git_holds(wheel: Path) -> None:
    """The wheel has each file of the package's folders, the metadata, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not METADATA.match(name)}
    assert names == {f"qlumen/{path}" for path in package_files()}
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_wheel_has_one_name_at_the_top(installed: Path) -> None:
    """An installation adds the package qlumen, and no top-level kernels or realtime."""
    code = "from importlib.util import find_spec; print(find_spec('{}'))"
    for name in ("api", "kernels", "models", "realtime"):
        assert run(installed / "python", "-c", code.format(name), cwd=installed) == "None\n"


def test_installed_without_torch(installed: Path) -> None:
    """The base install has what it needs, and not torch."""
    run(installed / "python", "-m", "pip", "check")
    names = run(installed / "python", "-m", "pip", "list", "--format=freeze").splitlines()
    packages = {name.partition("==")[0].lower() for name in names}
    assert {"qlumen", "openvino", "numba", "av"} <= packages
    assert not {"torch", "torchvision", "onnx", "nncf", "tensorflow"} & packages


def test_commands_run(installed: Path, folder: Path) -> None:
    """The installed program finds its network, judges the scene, and is a library."""
    assert "lite0-vqc4-int8" in run(installed / "qlumen", "doctor")
    output = folder / "scene.mp4"
    text = run(installed / "qlumen", "replay", "scene", "--set", "scene.frames=20",
               "--output", output)  # fmt: skip
    assert "20 frames in" in text
    assert output.stat().st_size > 10_000
    assert "qlumen.Model" in run(
        installed / "python", "-c", "import qlumen; print(qlumen.load())", cwd=folder
    )


def test_wheelhouse_needs_no_index(folder: Path, wheelhouse: Path, installed: Path) -> None:
    """From the wheelhouse alone the same versions are installed, and they work."""
    programs = make_environment(folder / "offline")
    pip(programs / "python", "install", "--no-index", "--find-links", wheelhouse, "qlumen",
        environment=NO_CONFIGURATION)  # fmt: skip
    assert freeze(programs) == freeze(installed)
    assert "qlumen.Model" in run(
        programs / "python", "-c", "import qlumen; print(qlumen.load())", cwd=folder
    )


def package_files() -> set[str]:
    """List the files of the package below qlumen/, from git and not from setup.py."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    paths = [path for path in listed.splitlines() if (ROOT / path).is_file()]
    packages = {path.split("/")[0] for path in paths if path.count("/") == 1
                and path.endswith("/__init__.py")}  # fmt: skip
    return {
        path.removeprefix("api/") for path in paths if path.split("/")[0] in packages - {"tests"}
    }


def make_environment(folder: Path) -> Path:
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin"


def freeze(programs: Path) -> list[str]:
    text = run(programs / "python", "-m", "pip", "list", "--format=freeze")
    return [line for line in text.splitlines() if not line.startswith(("pip=", "setuptools="))]


def pip(python: str | Path, *words: str | Path, environment: dict[str, str] | None = None) -> None:
    if environment is not None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        environment = kept | environment
    run(python, "-m", "pip", words[0], "--quiet", *words[1:], environment=environment)


def run(
    *words: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout
