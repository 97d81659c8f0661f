"""Chooses the best engine of this machine and opens the engine that the settings name.

OpenVINO is always installed. An engine's library is imported when the engine is opened.
"""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qlumen.errors import ConfigError, EngineError, MissingExtraError
from qlumen.networks.bundle import SHIPPED, SHIPPED_INT8, Bundle, find_bundle
from qlumen.networks.circuit import read_circuit
from qlumen.networks.identity import has_torch_weights
from qlumen.quantum.devices import Device
from qlumen.quantum.executors import SURROGATE, open_executor
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.presence import COMMANDS, Name, nvidia_gpus, presence
from qlumen.system.plugins import ENGINES, find_plugins, load_plugin

if TYPE_CHECKING:
    from qlumen.realtime.engines.openvino import CpuOptions

LIVE_STREAMS, STREAMS = 1, 2
"""Inferences side by side: one finishes a frame's map soonest, two finish more frames a second."""
REQUIRED: dict[Name, tuple[str, ...]] = {
    "openvino": (),
    "onnxruntime": ("onnxruntime",),
    "torch": ("torch",),
    "tensorrt": ("torch", "torch_tensorrt"),
    "tensorrt-rtx": ("tensorrt_rtx_bindings",),
}
"""Packages that each engine imports."""
PLUGIN = "plugin:"
log = logging.getLogger(__name__)


def open_engine(bundle: Bundle, settings: Settings, *, live: bool = False) -> Engine:
    """Open the engine that `settings.engine` names, or the best one here, for `bundle`.

    For `live` video each frame's map comes as soon as possible; otherwise as many maps a second
    as possible.

    Raises:
        EngineError: the network cannot be compiled here.
        MissingExtraError: the named engine's library or the circuit's device is missing.
        BundleError: the bundle holds nothing that the named engine can run.
        CircuitError: the device does not take the circuit.
        ConfigError: settings that contradict each other.
    """
    wanted = settings.engine
    streams = wanted.streams or (LIVE_STREAMS if live else STREAMS)
    chosen = wanted.model_copy(update={"streams": streams})
    if settings.quantum.executor != SURROGATE:
        return _open_split(bundle, settings, chosen)
    if wanted.name.startswith(PLUGIN):
        return _open_plugin(wanted.name.removeprefix(PLUGIN), bundle, chosen)
    if wanted.name != "auto":
        return _open(wanted.name, bundle, chosen)  # type: ignore[arg-type]
    name, reason = best_engine(bundle, wanted)
    engine = _open(name, bundle, chosen)
    engine.reason = "; ".join(part for part in (reason, engine.reason) if part)
    return engine


def bundle_folder(settings: Settings) -> Path:
    """Return the bundle that the settings name, or the shipped one that suits the engine best.

    The fastest shipped bundle is INT8 in OpenVINO and the trained one in the other engines.
    """
    given = settings.model.bundle
    if given is not None:
        shipped = find_bundle(given.name)
        return shipped if given == Path(given.name) and shipped.is_dir() else given
    engine = settings.engine
    openvino = engine.name == "openvino" or (engine.name == "auto" and not _gpu_engine(engine))
    return find_bundle(SHIPPED_INT8 if openvino else SHIPPED)


def best_engine(bundle: Bundle, settings: EngineSettings) -> tuple[Name, str]:
    """Return the engine that `auto` takes, and the reason."""
    if settings.device and not settings.device.startswith("cuda"):
        return "openvino", f"engine.device is {settings.device}"
    if not nvidia_gpus():
        return "openvino", "no NVIDIA GPU here, and on a CPU it is the fastest"
    if not has_torch_weights(bundle):
        return "openvino", "the bundle holds its network only in OpenVINO's form"
    name = _gpu_engine(settings)
    if name:
        return name, "an NVIDIA GPU is here"
    return "openvino", f"an NVIDIA GPU is here, but no engine for it: {COMMANDS['tensorrt']}"


def _gpu_engine(settings: EngineSettings) -> Name | None:
    """Return the best engine for an NVIDIA GPU; None when no engine may use one."""
    elsewhere = settings.device and not settings.device.startswith("cuda")
    names: tuple[Name, ...] = ("tensorrt", "torch")
    usable = (name for name in names if presence(name).usable)
    return None if elsewhere or not nvidia_gpus() else next(usable, None)


def _open(name: Name, bundle: Bundle, chosen: EngineSettings) -> Engine:
    if name == "openvino":
        return _open_openvino(bundle, chosen)
    _check(name, chosen)
    if name == "onnxruntime":
        from qlumen.realtime.engines.onnxruntime import open_onnxruntime

        return open_onnxruntime(bundle, chosen)
    if name == "torch":
        from qlumen.realtime.engines.torch import open_torch

        return open_torch(bundle, chosen)
    if name == "tensorrt-rtx":
        from qlumen.realtime.engines.tensorrt_rtx import open_tensorrt_rtx

        return open_tensorrt_rtx(bundle, chosen)
    return _open_tensorrt(bundle, chosen)


def _open_plugin(name: str, bundle: Bundle, chosen: EngineSettings) -> Engine:
    """Open the engine of another package, which is made with the bundle and its settings."""
    points = find_plugins(ENGINES)
    if name not in points:
        here = ", ".join(sorted(points)) or "none"
        raise ConfigError(f"engine.name={PLUGIN}{name}: there is no such plugin; here: {here}")
    return load_plugin(points[name])(bundle, chosen)


def _open_tensorrt(bundle: Bundle, chosen: EngineSettings) -> Engine:
    """Open TensorRT; if it fails, torch on CUDA; if that fails, OpenVINO on the CPU."""
    from qlumen.realtime.engines.tensorrt import open_tensorrt

    try:
        return open_tensorrt(bundle, chosen)
    except EngineError as error:
        return _instead_of_tensorrt(bundle, chosen, str(error))


def _instead_of_tensorrt(bundle: Bundle, chosen: EngineSettings, failure: str) -> Engine:
    from qlumen.realtime.engines.cuda import open_cuda

    engine: Engine
    try:
        engine = open_cuda(bundle, chosen, chosen.device or "cuda")
        failures = [failure]
    except EngineError as error:
        on_cpu = chosen.model_copy(update={"device": None, "precision": "f32"})
        engine = _open_openvino(bundle, on_cpu)
        failures = [failure, str(error)]
    engine.reason = f"instead of tensorrt: {'; '.join(dict.fromkeys(failures))}"
    log.warning("%s runs %s", engine.describe()["name"], engine.reason)
    return engine


def _check(name: Name, chosen: EngineSettings) -> None:
    """Raise an error if the engine's library is missing or the engine cannot use the device."""
    packages = REQUIRED[name]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"engine.name={name} needs {missing[0].replace('_', '-')}: {COMMANDS[name]}"
        )
    if chosen.device and not chosen.device.startswith(("cpu", "cuda")):
        raise ConfigError(
            f"engine.device={chosen.device} is OpenVINO's; {name} takes cpu, cuda, or null"
        )


def _open_openvino(bundle: Bundle, chosen: EngineSettings) -> Engine:
    from qlumen.realtime.engines.openvino import OpenVinoEngine

    device = chosen.device or "cpu"
    if device.startswith("cuda"):
        raise ConfigError(
            f"engine.device={device} is not OpenVINO's; use cpu, gpu or npu, or set engine.name "
            "to tensorrt, torch or onnxruntime"
        )
    return OpenVinoEngine(bundle.model, _cpu_options(chosen), device.upper())


def _open_split(bundle: Bundle, settings: Settings, chosen: EngineSettings) -> Engine:
    from qlumen.realtime.engines.split import SplitEngine

    if chosen.name not in ("auto", "openvino") or chosen.device not in (None, "cpu"):
        raise ConfigError(
            f"quantum.executor={settings.quantum.executor} runs only with openvino on cpu, not "
            f"with engine.name={chosen.name} and engine.device={chosen.device or 'null'}; change "
            "these, or set quantum.executor=surrogate"
        )
    quantum = settings.quantum
    trained = read_circuit(bundle)
    device = Device(quantum.executor, quantum.shots, quantum.depolarizing, quantum.readout_error)
    executor = open_executor(
        trained.circuit,
        trained.weights,
        device,
        memo_step=quantum.memo_step,
        memo_entries=quantum.memo_entries,
        workers=quantum.workers,
    )
    return SplitEngine(bundle.model, executor, trained.circuit.n_inputs, _cpu_options(chosen))


def _cpu_options(chosen: EngineSettings) -> "CpuOptions":
    from qlumen.realtime.engines.openvino import CpuOptions

    return CpuOptions(chosen.threads, chosen.streams, chosen.requests, chosen.precision or "f32")
