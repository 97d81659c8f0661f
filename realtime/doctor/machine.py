"""Checks Python, its packages, processor, memory, real-time priority and graphics cards."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import psutil

from qlumen.realtime.engines.presence import Gpu, nvidia_gpus
from qlumen.system.machine import cpu_model, cpuinfo, limited_cores
from qlumen.system.requirements import list_packages, optional_packages
from qlumen.system.threads import raise_priority, start

State = Literal["ok", "absent", "failed"]
OLDEST_PYTHON = (3, 11)
FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_tile",),
}
"""Processor flags of Linux: vnni makes INT8 faster, avx512_bf16 and amx make bf16 faster."""
GIB = 1 << 30
ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
"""Packages of one library; one of them is enough."""
PROGRAMS = {"ffmpeg": "SRT streams", "nvidia-smi": "finding NVIDIA GPUs"}


@dataclass(frozen=True, slots=True)
class Check:
    """Holds the result of one check.

    Attributes:
        state: `ok`; `absent`: an optional part is missing; `failed`: qlumen does not run.
        detail: finding of the check.
        command: command or sentence that says how to add or repair it; empty where ok.
    """

    name: str
    state: State
    detail: str
    command: str = ""


def machine_checks() -> list[Check]:
    """Check Python, the processor, the memory and the real-time priority."""
    return [_python(), _cpu(), *_features(), _memory(), _realtime()]


def gpu_checks() -> list[Check]:
    """Check NVIDIA's cards by their driver, and list the other devices that OpenVINO knows."""
    cards = [
        Check(gpu.name, "ok", f"driver {gpu.driver}, {_memory_of(gpu)}") for gpu in nvidia_gpus()
    ]
    none = Check("NVIDIA GPU", "absent", "no card, or no working driver", "install NVIDIA's driver")
    return [*(cards or [none]), *_openvino_devices()]


def library_checks() -> list[Check]:
    """Check the needed packages, those of the extras, and the programs."""
    needed = [_package(name, "pip install qlumen", "failed") for name in list_packages()]
    extra = [
        _package(name, f"pip install 'qlumen[{extra}]'", "absent")
        for name, extra in optional_packages().items()
    ]
    return [*needed, *extra, *(_program(name, use) for name, use in PROGRAMS.items())]


def cpu_flags(text: str) -> frozenset[str]:
    """Return the flags of the first processor in a text like `/proc/cpuinfo`."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _python() -> Check:
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("Python", "failed", found, "install Python 3.11 or later")
    return Check("Python", "ok", found)


def _cpu() -> Check:
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    found = f"{cpu_model()}, {physical} cores, {psutil.cpu_count()} threads"
    usable = limited_cores()
    limit = f"; this process may use {usable}" if usable else ""
    return Check("CPU", "ok", f"{found}{limit}")


def _features() -> list[Check]:
    flags = cpu_flags(cpuinfo())
    if not flags:
        return [Check("CPU features", "absent", "cannot be read on this system")]
    checks = []
    for name, names in FEATURES.items():
        found = ", ".join(flag for flag in names if flag in flags)
        checks.append(Check(name, "ok" if found else "absent", found or "not in this CPU"))
    return checks


def _memory() -> Check:
    memory = psutil.virtual_memory()
    return Check(
        "memory", "ok", f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    )


def _realtime() -> Check:
    """Ask for the priority in another thread: it ends with that thread."""
    granted: list[bool] = []
    start("priority", lambda: granted.append(raise_priority())).join()
    if granted[0]:
        return Check("real-time priority", "ok", "granted to the threads that show live video")
    user = os.environ.get("USER", "USER")
    return Check(
        "real-time priority",
        "absent",
        "not granted; on a busy machine live video waits longer for a core",
        f"echo '{user} - rtprio 1' | sudo tee /etc/security/limits.d/qlumen.conf; log in again",
    )


def _memory_of(gpu: Gpu) -> str:
    return "shared memory" if gpu.memory_mib is None else f"{gpu.memory_mib} MiB"


def _openvino_devices() -> list[Check]:
    from qlumen.realtime.engines.openvino import CPU, devices

    return [
        Check(f"OpenVINO {name}", "ok", f"{full_name}: engine.device={name.lower()}")
        for name, full_name in devices().items()
        if name != CPU
    ]


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
