"""The Python packages that qlumen uses, and the programs."""

import shutil
from importlib.metadata import PackageNotFoundError, version

from qlumen.realtime.doctor.checks import Check, State
from qlumen.system.requirements import needed_packages, optional_packages

ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Packages of one library: either will do."""
PROGRAMS = {"ffmpeg": "SRT streams", "nvidia-smi": "finding NVIDIA GPUs"}


def library_checks() -> list[Check]:
    """The needed packages, those of the extras, the programs."""
    needed = [_package(name, "pip install qlumen", "failed") for name in needed_packages()]
    extra = [
        _package(name, f"pip install 'qlumen[{extra}]'", "absent")
        for name, extra in optional_packages().items()
    ]
    return [*needed, *extra, *(_program(name, use) for name, use in PROGRAMS.items())]


def _package(name: str, command: str, otherwise: State) -> Check:
    names = ONNXRUNTIMES if name in ONNXRUNTIMES else (name,)
    for candidate in names:
        try:
            return Check(name, "ok", version(candidate))
        except PackageNotFoundError:
            continue
    return Check(name, otherwise, "not installed", command)


def _program(name: str, use: str) -> Check:
    path = shutil.which(name)
    if path:
        return Check(name, "ok", f"{path}, for {use}")
    command = "apt install ffmpeg" if name == "ffmpeg" else "install NVIDIA's driver"
    return Check(name, "absent", f"not found; it is needed for {use}", command)
