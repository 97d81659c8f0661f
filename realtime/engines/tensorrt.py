"""Runs TensorRT through Torch-TensorRT: one static shape, strongly typed, kept on disk.

    bundle -> torch network -> torch.export -> TensorRT engine -> cache -> CUDA graph

Torch-TensorRT 2.14 takes each operation's precision from the graph. So half precision, and the
8 bits of a bundle with ranges, are written into the network before it is exported.
"""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle, Precision
from qlumen.networks.deploy import deploy_network, export_program
from qlumen.networks.eightbit import eight_bit_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.base import gpu_precision
from qlumen.realtime.engines.cache import EngineCache, EngineKey
from qlumen.realtime.engines.cuda import CudaEngine, check_cuda
from qlumen.realtime.engines.presence import COMMANDS, nvidia_gpus, old_torch_tensorrt

INPUT, OUTPUT = "image", "map"
"""Names of the engine's input and output."""
LIBRARIES = (
    "qlumen", "torch", "torch-tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt",
    "nvidia-modelopt",
)  # fmt: skip
"""An engine depends on their versions; TensorRT's package has its CUDA version in its name."""
log = logging.getLogger(__name__)


class Library(Protocol):
    """Defines the two calls that need TensorRT; both raise EngineError if it fails."""

    def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
        """Return a serialised engine for inputs like `example`."""

    def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return a function that runs a serialised engine."""


def open_tensorrt(bundle: Bundle, settings: EngineSettings) -> CudaEngine:
    """Open the engine that the settings ask for; build it if the cache does not have it.

    Raises:
        ConfigError: as `gpu_precision`.
        EngineError: there is no such GPU, or TensorRT's libraries are missing, too old or fail.
            For a bundle with 8-bit ranges: nvidia-modelopt is missing.
        BundleError: the bundle holds no torch weights.
    """
    chosen = gpu_precision(settings)
    device = check_cuda(settings.device or "cuda")
    _import_library()  # fails before the export, which takes long
    key = engine_key(bundle, chosen, device)
    run = load_or_compile(bundle, chosen, key, EngineCache("tensorrt"), TorchTensorRt(), device)
    spec = bundle.manifest.input
    about = {"name": "tensorrt", "precision": key.precision, **dict(key.libraries)}
    return CudaEngine(
        run, (spec.width, spec.height), device, requests=settings.requests, about=about
    )


def load_or_compile(
    bundle: Bundle,
    precision: Precision,
    key: EngineKey,
    cache: EngineCache,
    library: Library,
    device: torch.device,
) -> Callable[[Tensor], Tensor]:
    """Return the bundle's network as an engine on `device`, from the cache if it loads.

    A new engine is kept after it ran once, so that one that cannot run is not loaded again.

    Raises:
        EngineError: `library` cannot build the engine, or cannot load or run the new engine.
        BundleError: the bundle holds no torch weights.
    """
    kept = cache.load(key)
    if kept is not None:
        try:
            return library.load(kept, device)
        except EngineError as error:
            log.warning("the engine in the cache does not load, so it is built again: %s", error)
    spec = bundle.manifest.input
    network = _network(bundle, precision).to(device)
    program = export_program(network, (spec.width, spec.height), device)
    example = torch.zeros(1, spec.height, spec.width, 3, dtype=torch.uint8, device=device)
    log.info("building the TensorRT engine, which takes minutes")
    built = library.build(program, example)
    run = library.load(built, device)
    try:
        run(example).cpu()
    except RuntimeError as error:
        raise _engine_error("run the engine", error) from error
    cache.store(key, built)
    return run


def engine_key(bundle: Bundle, precision: Precision, device: torch.device) -> EngineKey:
    """Return what an engine of `bundle` for the GPU `device` depends on."""
    driver = ", ".join(sorted({gpu.driver for gpu in nvidia_gpus()})) or "unknown"
    major, minor = torch.cuda.get_device_capability(device)
    gpu = f"{torch.cuda.get_device_name(device)} {major}.{minor}"
    return EngineKey.of(bundle, precision, gpu, driver, *LIBRARIES)


def _network(bundle: Bundle, precision: Precision) -> nn.Module:
    if bundle.ranges:
        return eight_bit_network(bundle, precision, operators=True)
    return deploy_network(bundle, precision)


class TorchTensorRt:
    """Calls Torch-TensorRT's dynamo front end and its runtime."""

    def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
        library = _import_library()
        try:
            engine: bytes = library.dynamo.convert_exported_program_to_serialized_trt_engine(
                program,
                arg_inputs=(example,),
                device=example.device,
                disable_tf32=True,
                arg_input_binding_names=(INPUT,),
                output_binding_names=OUTPUT,
            )
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _engine_error("build the engine", error) from error
        return engine

    def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
        library = _import_library()
        try:
            # Its default settings name the device that was current at the import.
            on = library.dynamo.CompilationSettings(device=library.Device(gpu_id=device.index))
            with torch.cuda.device(device):
                run: Callable[[Tensor], Tensor] = library.runtime.TorchTensorRTModule(
                    engine, [INPUT], [OUTPUT], settings=on
                )
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _engine_error("load the engine", error) from error
        return run


def _import_library() -> Any:
    """Import `torch_tensorrt`; raise EngineError if it is too old or TensorRT does not load."""
    old = old_torch_tensorrt()
    if old:
        raise EngineError(f"torch-tensorrt {old} is too old for qlumen: {COMMANDS['tensorrt']}")
    if find_spec("tensorrt") is None:
        raise EngineError("TensorRT's Python package is missing: pip install 'qlumen[gpu]'")
    try:
        import torch_tensorrt
    except Exception as error:
        # If TensorRT does not load, it raises Exception itself and no subclass.
        known = isinstance(error, (ImportError, OSError, RuntimeError, AssertionError))
        if not known and type(error) is not Exception:
            raise
        raise _engine_error("import", error) from error
    return torch_tensorrt


def _engine_error(what: str, error: Exception) -> EngineError:
    lines = str(error).strip().splitlines()
    return EngineError(f"TensorRT cannot {what}: {lines[0] if lines else type(error).__name__}")
