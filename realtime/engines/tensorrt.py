"""Runs TensorRT through Torch-TensorRT: one static shape, strongly typed, kept on disk.

    bundle -> torch network -> torch.export -> TensorRT engine -> cache -> CUDA graph

Torch-TensorRT 2.14 takes each operation's precision from the graph. So half precision, and the
8 bits of a bundle with ranges, are written into the network before it is exported.
"""

import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle, Precision, file_sha256
from qlumen.networks.deploy import deploy_network, export_program
from qlumen.networks.eightbit import eight_bit_network
from qlumen.networks.identity import network_sha256
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.cache import EngineCache, EngineKey
from qlumen.realtime.engines.cuda import CudaEngine, check_cuda
from qlumen.realtime.engines.presence import nvidia_gpus

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
        EngineError: there is no such GPU, or TensorRT's libraries are missing or fail. For a
            bundle with 8-bit ranges: nvidia-modelopt is missing.
        BundleError: the bundle holds no torch weights.
    """
    device = check_cuda(settings.device or "cuda")
    run = load_or_compile(
        bundle, settings.precision, engine_key(bundle, settings.precision, device),
        EngineCache("tensorrt"), TorchTensorRt(), device,
    )  # fmt: skip
    spec = bundle.manifest.input
    precision = f"int8 and {settings.precision}" if bundle.ranges else settings.precision
    about = {"name": "tensorrt", "precision": precision, **dict(_versions())}
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

    Raises:
        EngineError: `library` cannot build the engine, or cannot load the new engine.
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
    cache.store(key, built)
    return library.load(built, device)


def engine_key(bundle: Bundle, precision: Precision, device: torch.device) -> EngineKey:
    """Return what an engine of `bundle` for the GPU `device` depends on."""
    spec = bundle.manifest.input
    ranges = bundle.ranges
    drivers = sorted({gpu.driver for gpu in nvidia_gpus()})
    return EngineKey(
        network_sha256=network_sha256(bundle),
        precision=f"{precision}, ranges {file_sha256(ranges)}" if ranges else precision,
        shape=(1, spec.height, spec.width, 3),
        gpu=torch.cuda.get_device_name(device),
        driver=", ".join(drivers) or "unknown",
        libraries=_versions(),
    )


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
                arg_input_binding_names=(INPUT,),
                output_binding_names=OUTPUT,
            )
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _engine_error("build the engine", error) from error
        return engine

    def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
        library = _import_library()
        try:
            with torch.cuda.device(device):
                run: Callable[[Tensor], Tensor] = library.runtime.TorchTensorRTModule(
                    engine, input_binding_names=[INPUT], output_binding_names=[OUTPUT]
                )
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _engine_error("load the engine", error) from error
        return run


def _import_library() -> Any:
    """Import `torch_tensorrt`; raise EngineError if it or its TensorRT does not load."""
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


def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
