"""Packs what `bench/gpu_check.py` needs on a machine without a network, in parts.

    python bench/gpu_pack.py --installed FILE --python 3.12 [--add NAME==VERSION] [--data DIR]
                             [--images N] [--part-size 40MiB] [--output .gpu]

FILE holds what `pip freeze` prints on that machine; the pack has the packages that it lacks. It
also has reference maps, a clip, and N images of the training and of the validation list. Files in
OUTPUT/own, such as libraries of CUDA 12, go along as they are. Git must ignore OUTPUT, because
images of a data folder may not be published.
"""

import shutil
import subprocess
import sys
import tarfile
from argparse import ArgumentParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from qlumen.datasets.splits import SPLITS, TRAINING, VALIDATION, split_pairs, spread

from support.gpu_stages import CLIP, CLIP_FRAMES, REFERENCES, references
from support.recording import record_scene

ROOTS = ("qlumen", "accelerate", "hypothesis", "onnxruntime", "pytest")
LEFT = {"torch", "fastapi", "gradio", "reportlab", "uvicorn", "websockets", "openvino-telemetry"}
"""Packages that must be there already, or that only the page and the reports need."""
SYSTEMS = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)]
COMMANDS = """
And after the last one:

    cd {there} && cat part.* > pack.tar.xz && python3 -m tarfile -e pack.tar.xz . && cd -
    python3 -m pip install --quiet --no-deps --no-build-isolation --target {there}/site .
    export PYTHONPATH={there}/site LD_LIBRARY_PATH={there}/own:$LD_LIBRARY_PATH
    python3 bench/gpu_check.py --pack {there}{data}"""
THERE = "/tmp/gpu"


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    add = arguments.add_argument
    add("--installed", type=Path, required=True, help="what `pip freeze` prints on that machine")
    add("--python", required=True, help="its version of Python, such as 3.12")
    add("--add", nargs="*", default=[], help="packages for its card, as NAME==VERSION")
    add("--data", type=Path, help="folder with images, masks and splits/")
    add("--images", type=int, help="largest number of images of a list")
    add("--part-size", default="40MiB", help="largest size of a part")
    add("--output", type=Path, default=Path(".gpu"), help="an ignored folder")
    given = arguments.parse_args()
    pack, own = given.output / "pack", given.output / "own"
    if subprocess.run(["git", "check-ignore", "--quiet", pack], check=False).returncode:
        sys.exit(f"git does not ignore {given.output}; name another folder")
    shutil.rmtree(pack, ignore_errors=True)
    own.mkdir(parents=True, exist_ok=True)
    shutil.copytree(own, pack / "own")
    np.savez_compressed(pack / REFERENCES, **references(given))
    record_scene(pack / CLIP, CLIP_FRAMES)
    if given.data:
        copy_images(given.data, given.images, pack / "data")
    wanted = missing_packages(given.installed.read_text("utf-8")) + given.add
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
               "--only-binary=:all:", f"--python-version={given.python}", *SYSTEMS]  # fmt: skip
    subprocess.run([*command, "--target", pack / "site", *wanted], check=True)
    shutil.rmtree(pack / "site/tests", ignore_errors=True)  # of a package that installs its own
    archive = given.output / "pack.tar.xz"
    with tarfile.open(archive, "w:xz", preset=3) as tar:
        tar.add(pack, ".")
    print("Send the parts with the working tree, one after the other, and after each run there:\n")
    for part in split(archive, int(given.part_size.removesuffix("MiB")) << 20):
        print(f"    mkdir -p {THERE} && mv {part} {THERE}")
    print(COMMANDS.format(there=THERE, data=f" --data {THERE}/data" if given.data else ""))


def missing_packages(installed: str) -> list[str]:
    """Return `NAME==VERSION` of what qlumen and its tests need and the freeze does not list."""
    lines = [line.replace(" @", "==").partition("==")[0] for line in installed.splitlines()]
    there = {canonicalize_name(line).removesuffix("-headless") for line in lines} | LEFT
    there.discard("qlumen")
    found, waiting = dict[str, str](), [*ROOTS]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name in there:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # another system needs it
        found[name] = f"{name}=={package.version}"
        for need in map(Requirement, package.requires or ()):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return sorted(text for name, text in found.items() if name != "qlumen")


def copy_images(data: Path, count: int | None, folder: Path) -> None:
    """Copy training and validation images with their masks, and list them."""
    for name in (TRAINING, VALIDATION):
        pairs = spread(split_pairs(data, name), count)
        for path in (path for pair in pairs for path in (pair.image, pair.mask)):
            target = folder / path.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        (folder / SPLITS).mkdir(exist_ok=True)
        (folder / SPLITS / f"{name}.txt").write_text("\n".join(pair.name for pair in pairs))


def split(archive: Path, size: int) -> list[Path]:
    """Replace a file by `part.00`, `part.01` and so on of at most `size` bytes."""
    parts: list[Path] = []
    with archive.open("rb") as file:
        while piece := file.read(size):
            parts.append(archive.with_name(f"part.{len(parts):02}"))
            parts[-1].write_bytes(piece)
    archive.unlink()
    return parts


if __name__ == "__main__":
    main()
