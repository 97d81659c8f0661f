"""Packs what `bench/gpu_check.py` needs on a machine without a network, in parts.

    python bench/gpu_pack.py --installed FILE --python 3.12 [--add NAME==VERSION] [--data DIR]
                             [--part-size 40MiB] [--output .gpu]

FILE holds what `pip freeze` prints on that machine; the pack has the packages that it lacks, and
the images for training and validation. Files in OUTPUT/own, such as libraries of CUDA 12, go along
as they are. Git must ignore OUTPUT, because images of a data folder may not be published.
"""

import shutil
import subprocess
import sys
import tarfile
from argparse import ArgumentParser
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from qlumen.datasets.splits import SPLITS, TRAINING, VALIDATION, split_pairs

ROOTS = ("qlumen", "accelerate", "hypothesis", "onnxruntime", "pytest")
LEFT = {"torch", "fastapi", "gradio", "reportlab", "uvicorn", "websockets", "openvino-telemetry"}
"""Packages that must be there already, or that only the page and the reports need."""
SYSTEMS = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)]
COMMANDS = """\
Send the parts of {output} with the working tree, one after the other. After each run there:

    mkdir -p /tmp/gpu && mv {output}/part.* /tmp/gpu

And after the last one:

    cd /tmp/gpu && cat part.* | tar -xJ && cd -
    python3 -m pip install --quiet --no-deps --no-build-isolation --target /tmp/gpu/site .
    export PYTHONPATH=/tmp/gpu/site LD_LIBRARY_PATH=/tmp/gpu/own:$LD_LIBRARY_PATH
    python3 bench/gpu_check.py{data}"""


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    add = arguments.add_argument
    add("--installed", type=Path, required=True, help="what `pip freeze` prints on that machine")
    add("--python", required=True, help="its version of Python, such as 3.12")
    add("--add", nargs="*", default=[], help="packages for its card, as NAME==VERSION")
    add("--data", type=Path, help="folder with images, masks and splits/")
    add("--part-size", default="40MiB", help="largest size of a part")
    add("--output", type=Path, default=Path(".gpu"), help="an ignored folder")
    given = arguments.parse_args()
    archive, site, own = (given.output / name for name in ("pack.tar.xz", "site", "own"))
    if subprocess.run(["git", "check-ignore", "--quiet", archive], check=False).returncode:
        sys.exit(f"git does not ignore {given.output}; name another folder")
    own.mkdir(parents=True, exist_ok=True)
    for old in given.output.glob("part.*"):
        old.unlink()
    wanted = missing_packages(given.installed.read_text("utf-8")) + given.add
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
               "--only-binary=:all:", f"--python-version={given.python}", *SYSTEMS]  # fmt: skip
    subprocess.run([*command, "--upgrade", "--target", site, *wanted], check=True)
    shutil.rmtree(site / "tests", ignore_errors=True)  # of a package that installs its own
    with tarfile.open(archive, "w:xz", preset=3) as tar:
        tar.add(site, "site")
        tar.add(own, "own")
        for path in listed_files(given.data) if given.data else ():
            tar.add(path, Path("data", path.relative_to(given.data)))
    split = ["split", "--numeric-suffixes", f"--bytes={given.part_size}", archive]
    subprocess.run([*split, given.output / "part."], check=True)
    archive.unlink()
    data = " --data /tmp/gpu/data" if given.data else ""
    print(COMMANDS.format(output=given.output, data=data))


def missing_packages(installed: str) -> list[str]:
    """Return `NAME==VERSION` of what qlumen and its tests need and the freeze does not list."""
    lines = [line.replace(" @", "==").partition("==")[0] for line in installed.splitlines()]
    there = {canonicalize_name(line).removesuffix("-headless") for line in lines} - {"qlumen"}
    found, waiting = dict[str, str](), [*ROOTS]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name in there | LEFT:
            continue
        with suppress(PackageNotFoundError):  # another system needs it
            package = distribution(name)
            found[name] = f"{name}=={package.version}"
            needs = map(Requirement, package.requires or ())
            waiting += [n.name for n in needs if not n.marker or n.marker.evaluate({"extra": ""})]
    return sorted(text for name, text in found.items() if name != "qlumen")


def listed_files(data: Path) -> list[Path]:
    """Return the lists of training and validation with their images and masks."""
    pairs = [pair for name in (TRAINING, VALIDATION) for pair in split_pairs(data, name)]
    lists = [data / SPLITS / f"{name}.txt" for name in (TRAINING, VALIDATION)]
    return lists + [path for pair in pairs for path in (pair.image, pair.mask)]


if __name__ == "__main__":
    main()
