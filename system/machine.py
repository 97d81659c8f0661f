"""Describes the machine of a measurement: figures of two machines cannot be compared."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("av", "numba", "numpy", "opencv-python", "openvino", "qlumen")
"""Packages of the video path."""
CPUINFO = Path("/proc/cpuinfo")


def machine(packages: Iterable[str] = PACKAGES) -> dict[str, str | int]:
    """Return processor, cores, system, Python and the versions of the installed packages."""
    facts: dict[str, str | int] = {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | {name: found for name in packages if (found := _version(name))}


def cpu_model() -> str:
    lines = cpuinfo().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine() or "unknown")


def cpuinfo() -> str:
    """Read Linux's text about the processors; empty on other systems."""
    return CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
