"""Describes the machine of a measurement: figures of two machines cannot be compared."""

import math
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("av", "numba", "numpy", "opencv-python", "openvino", "qlumen")
"""Packages of the video path."""
CPUINFO = Path("/proc/cpuinfo")
OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


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


def usable_cores() -> int:
    """Return the number of cores that this process may use, 1 or more.

    These are the cores that it may run on (`taskset`, `--cpuset-cpus`), and no more than the
    quota of a container (`docker --cpus`, limits of Kubernetes), rounded down: one thread more
    than the quota allows makes the system stop all of them for a while.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    groups = OWN_GROUPS.read_text(encoding="utf-8") if OWN_GROUPS.exists() else ""
    return max(1, int(min(cores, cpu_quota(groups, GROUPS))))


def limited_cores() -> int:
    """Return `usable_cores` where a container or the user limits them, else 0."""
    usable = usable_cores()
    return usable if usable < (os.cpu_count() or 1) else 0


def cpu_quota(groups: str, root: Path) -> float:
    """Return the least quota of a process's control groups, in cores; infinite without one.

    Args:
        groups: text like `/proc/self/cgroup` (Linux, cgroups(7)), of version 1 or 2.
        root: folder in which the control groups lie.
    """
    least = math.inf
    for line in groups.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers
        folder = base / name.strip("/")
        # In a container the outer groups may not be seen, so that folders are missing.
        for group in (folder, *folder.parents):
            least = min(least, _quota_of(group))
            if group == base:
                break
    return least


def _quota_of(group: Path) -> float:
    """Return the quota of one control group, in cores."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii")
                for name in ("quota", "period")
            )
        cores = int(quota) / int(period)
    except (OSError, ValueError):  # "max", or no such group
        return math.inf
    return cores if cores > 0 else math.inf
