"""Finds the engines that can run here.

A library is imported only to list its devices; torch only if there is a GPU it could use.
"""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, get_args

from qlumen.errors import MissingExtraError
from qlumen.realtime.engines.cuda_driver import Gpu, list_gpus

Name = Literal["openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx"]
NAMES: tuple[Name, ...] = get_args(Name)
COMMANDS = {
    "openvino": "pip install qlumen",
    "onnxruntime": "pip install 'qlumen[onnxruntime]'",
    "torch": "pip install 'qlumen[train]'",
    "tensorrt": "pip install 'qlumen[gpu]'",
    "tensorrt-rtx": "pip install 'qlumen[rtx]'",
}
"""Commands that install each engine."""
RTX_PACKAGE = "tensorrt-rtx-cu13-bindings"
TORCH_TENSORRT = [2, 14]
"""First version that gives an engine's inputs and outputs the names that qlumen asks for."""
QUERY_SECONDS = 10
"""A driver that takes longer to answer does not work."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Describes an engine and whether it can run here.

    Attributes:
        detail: version and devices, or the missing part.
        command: command that installs it; empty if nothing is missing or no command helps.
    """

    name: Name
    usable: bool
    detail: str
    command: str = ""


def engines_here() -> tuple[Presence, ...]:
    """Return all engines, usable or not."""
    return tuple(presence(name) for name in NAMES)


def presence(name: Name) -> Presence:
    """Check whether an engine can run here, and on what."""
    if name == "openvino":
        return _openvino()
    if name == "onnxruntime":
        return _onnxruntime()
    if name == "tensorrt-rtx":
        return _tensorrt_rtx()
    return _torch() if name == "torch" else _tensorrt()


def nvidia_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that `nvidia-smi` lists, or the driver where that program is missing.

    Containers that may only compute have no `nvidia-smi`. Empty if neither answers.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return list_gpus()
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(done.stdout)


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """Parse lines such as `NVIDIA RTX A2000, 550.54.15, 6138 MiB`; others are left out.

    A GPU that shares the machine's memory has `[N/A]` in place of its own.
    """
    found = []
    for line in answer.splitlines():
        match [part.strip() for part in line.rsplit(",", 2)]:
            case [name, driver, memory] if name and driver[:1].isdecimal():
                size = memory.removesuffix(" MiB")
                found.append(Gpu(name, driver, int(size) if size.isdecimal() else None))
    return tuple(found)


def _openvino() -> Presence:
    from qlumen.networks.openvino import ov

    release = ov.__version__.partition("-")[0]
    return Presence("openvino", True, f"{release} on {', '.join(ov.Core().available_devices)}")


def _onnxruntime() -> Presence:
    if find_spec("onnxruntime") is None:
        return _missing("onnxruntime", "onnxruntime is not installed")
    import onnxruntime as ort

    providers = (name.removesuffix("ExecutionProvider") for name in ort.get_available_providers())
    return Presence("onnxruntime", True, f"{ort.__version__} with {', '.join(providers)}")


def _torch() -> Presence:
    found = installed_version("torch")
    if found is None:
        return _missing("torch", "torch is not installed")
    devices = ", ".join(["cpu", *_cuda_devices()])
    return Presence("torch", True, f"{found} on {devices}")


def _tensorrt() -> Presence:
    found = installed_version("torch-tensorrt")
    if found is None:
        return _missing("tensorrt", "torch-tensorrt is not installed")
    if old_torch_tensorrt():
        return _missing("tensorrt", f"torch-tensorrt {found} is too old")
    if not _cuda_devices():
        return Presence("tensorrt", False, f"torch-tensorrt {found}, but torch has no CUDA device")
    return Presence("tensorrt", True, f"torch-tensorrt {found} on {', '.join(_cuda_devices())}")


def _tensorrt_rtx() -> Presence:
    found = installed_version(RTX_PACKAGE)
    if found is None:
        return _missing("tensorrt-rtx", f"{RTX_PACKAGE} is not installed")
    if not nvidia_gpus():
        return Presence("tensorrt-rtx", False, f"{found}, but no NVIDIA GPU is here")
    return Presence("tensorrt-rtx", True, f"{found}, which has never run on a card")


def old_torch_tensorrt() -> str:
    """Return the version of a torch-tensorrt that is too old, and an empty string for others."""
    found = installed_version("torch-tensorrt") or ""
    numbers = [int(part) for part in found.split(".")[:2] if part.isdecimal()]
    return found if found and numbers < TORCH_TENSORRT else ""


def _cuda_devices() -> list[str]:
    if not nvidia_gpus() or find_spec("torch") is None:
        return []
    from qlumen.realtime.engines.cuda import device_names

    return device_names()


def check_exporter(file: str, format_: str) -> None:
    """Raise MissingExtraError unless torch and onnx are here, to make a `file` of a network."""
    missing = [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"there is no {file} of the network, and qlumen needs {missing[0]} to make it: pip "
            f"install 'qlumen[train]'; or run qlumen export --format {format_} --bundle DIR "
            "--output FILE where that is installed, and here use --set engine.model=FILE"
        )


def _missing(name: Name, detail: str) -> Presence:
    return Presence(name, False, detail, COMMANDS[name])


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
