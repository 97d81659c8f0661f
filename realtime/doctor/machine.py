"""Python, processor, memory, the system's real-time turn, graphics cards."""

import os
import platform
import sys

import psutil

from qlumen.realtime.doctor.checks import Check
from qlumen.realtime.engines.presence import nvidia_gpus
from qlumen.system.machine import cpu_model, cpuinfo
from qlumen.system.threads import raise_priority, start

OLDEST_PYTHON = (3, 11)
FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_tile",),
}
"""Of the processor, by the flags of Linux: vnni speeds INT8, avx512_bf16 and amx bf16."""
GIB = 1 << 30


def machine_checks() -> list[Check]:
    """Each thing of the machine in a line."""
    return [_python(), _cpu(), *_features(), _memory(), _realtime()]


def gpu_checks() -> list[Check]:
    """NVIDIA's cards by their driver, and other devices that OpenVINO knows."""
    cards = [
        Check(gpu.name, "ok", f"driver {gpu.driver}, {gpu.memory_mib} MiB") for gpu in nvidia_gpus()
    ]
    none = Check("NVIDIA GPU", "absent", "no card, or no working driver", "install NVIDIA's driver")
    return [*(cards or [none]), *_openvino_devices()]


def cpu_flags(text: str) -> frozenset[str]:
    """The flags of the first processor in a text like that of `/proc/cpuinfo`."""
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
    return Check("CPU", "ok", f"{cpu_model()}, {physical} cores, {psutil.cpu_count()} threads")


def _features() -> list[Check]:
    flags = cpu_flags(cpuinfo())
    if not flags:
        return [Check("CPU features", "absent", "cannot be read on this system")]
    return [_feature(name, names, flags) for name, names in FEATURES.items()]


def _feature(name: str, names: tuple[str, ...], flags: frozenset[str]) -> Check:
    found = [flag for flag in names if flag in flags]
    return Check(name, "ok" if found else "absent", ", ".join(found) or "this CPU has none")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    return Check(
        "memory", "ok", f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    )


def _realtime() -> Check:
    """Asked for by a thread of its own, which takes it along when it ends."""
    granted: list[bool] = []
    start("priority", lambda: granted.append(raise_priority())).join()
    if granted[0]:
        return Check("real-time priority", "ok", "granted to the threads that show live video")
    user = os.environ.get("USER", "USER")
    return Check(
        "real-time priority",
        "absent",
        "not granted; on a busy machine live video waits longer for a core",
        f"echo '{user} - rtprio 1' | sudo tee /etc/security/limits.d/qlumen.conf, and log in anew",
    )


def _openvino_devices() -> list[Check]:
    from qlumen.realtime.engines.openvino import CPU, devices

    return [
        Check(f"OpenVINO {name}", "ok", f"{full_name}: engine.device={name.lower()}")
        for name, full_name in devices().items()
        if name != CPU
    ]
