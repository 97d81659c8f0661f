"""Runs ONNX Runtime on the CPU, or on NVIDIA GPUs with its CUDA or TensorRT provider.

It takes a file from `qlumen export --format onnx`, or makes one from the bundle with torch at
the first use and keeps it in the user's cache.
"""

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from qlumen.errors import ConfigError, EngineError
from qlumen.networks.bundle import TABLES, WEIGHTS, Bundle, Precision
from qlumen.networks.identity import NETWORK_KEY, PRECISION_KEY, network_sha256
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.base import Probability, WorkerEngine, gpu_precision
from qlumen.realtime.engines.presence import check_exporter
from qlumen.realtime.pixels.arrays import Image
from qlumen.system.caches import cache_folder, content_folder
from qlumen.system.machine import usable_cores

CPU_PROVIDERS = ("CPUExecutionProvider",)
GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
"""Providers in order of preference."""
FAILURES = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)
"""Errors of ONNX Runtime; their only base class is Exception."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Holds the options of ONNX Runtime.

    Attributes:
        device: `cpu`, or `cuda` or `cuda:1` for the TensorRT or CUDA provider.
        threads: number of threads of all inferences together; 0 takes all cores.
        streams: number of inferences that run side by side and share the threads.
        requests: number of frames that may be in flight.
        precision: precision of the file, which TensorRT must be told.
    """

    device: str = "cpu"
    threads: int = 0
    streams: int = 1
    requests: int = 2
    precision: Precision = "f32"


class OnnxRuntimeEngine(WorkerEngine):
    """Runs an ONNX file.

    Args:
        model: file with input `(1, H, W, 3) uint8` and output `(1, 1, h, w) float32`.

    Raises:
        EngineError: the file cannot be read, is no such network, or the device is missing.
    """

    def __init__(self, model: Path, options: OnnxOptions | None = None) -> None:
        self._options = options = options or OnnxOptions()
        self._session = session = _session(model, options)
        self._own = local()
        input_size, output_size = _sizes(model, session)
        self.origin: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        super().__init__(
            input_size, output_size, streams=options.streams, requests=options.requests
        )

    def _compute(self, image: Image) -> Probability:
        own = self._own
        try:
            if not hasattr(own, "binding"):
                self._bind(own)
            own.image.update_inplace(image[None])
            self._session.run_with_iobinding(own.binding)
            return np.array(own.map.numpy()[0, 0])
        except FAILURES as error:
            raise EngineError(f"ONNX Runtime failed on a frame: {error}") from error

    def _bind(self, own: local) -> None:
        """Give a thread memory on the device, which a CUDA graph finds at each frame."""
        device, _, number = self._options.device.partition(":")
        (takes,), (gives,) = self._session.get_inputs(), self._session.get_outputs()
        own.image, own.map = (
            ort.OrtValue.ortvalue_from_shape_and_type(port.shape, kind, device, int(number or 0))
            for port, kind in ((takes, np.uint8), (gives, np.float32))
        )
        own.binding = self._session.io_binding()
        own.binding.bind_ortvalue_input(takes.name, own.image)
        own.binding.bind_ortvalue_output(gives.name, own.map)

    def _about(self) -> dict[str, Any]:
        return {
            "name": "onnxruntime",
            "version": ort.__version__,
            "providers": self._session.get_providers(),
            **asdict(self._options),
            "precision": self.origin.get(PRECISION_KEY, "unknown"),
        }


def open_onnxruntime(bundle: Bundle, settings: EngineSettings) -> OnnxRuntimeEngine:
    """Open the engine that the settings ask for, on a GPU if its provider is there.

    Raises:
        ConfigError: the device does not have the precision.
        MissingExtraError: as `onnx_file`.
        EngineError: as `OnnxRuntimeEngine` and `onnx_file`, or the file is another network's.
        BundleError: the bundle holds no torch weights.
    """
    on_gpu = any(name in ort.get_available_providers() for name in GPU_PROVIDERS)
    device = settings.device or ("cuda" if on_gpu else "cpu")
    if device == "cpu" and settings.precision not in (None, "f32"):
        raise ConfigError(
            f"engine.precision={settings.precision} is not for onnxruntime on cpu; use f32"
        )
    precision: Precision = "f32" if device == "cpu" else gpu_precision(settings)
    if settings.model and settings.precision is None:
        precision = "f32"
    model = settings.model or onnx_file(bundle, precision)
    options = OnnxOptions(device, settings.threads, settings.streams, settings.requests, precision)
    engine = OnnxRuntimeEngine(model, options)
    try:
        check_origin(engine, model, bundle)
    except EngineError:
        engine.close()
        raise
    return engine


def check_origin(engine: OnnxRuntimeEngine, model: Path, bundle: Bundle) -> None:
    """Raise EngineError unless the file was made from the network of `bundle`."""
    found = engine.origin.get(NETWORK_KEY, "none")
    wanted = network_sha256(bundle)
    if found != wanted:
        raise EngineError(
            f"{model} was made from another network ({found[:12]}) than {bundle.folder} holds "
            f"({wanted[:12]}); write it again: "
            f"qlumen export --format onnx --bundle {bundle.folder} --output FILE"
        )


def onnx_file(bundle: Bundle, precision: Precision = "f32") -> Path:
    """Return the bundle's network as an ONNX file, which is made at the first use.

    Raises:
        MissingExtraError: it is not in the cache, and torch or onnx is missing to make it.
        EngineError: there is no folder to keep it in.
        BundleError: the bundle holds no torch weights.
    """
    names = [name for name in (WEIGHTS, TABLES) if name in bundle.manifest.files]
    folder = content_folder("onnx", [bundle.folder / name for name in names])
    if folder is None:
        raise EngineError(
            "no cache folder for the network as ONNX can be written; set QLUMEN_CACHE to a "
            "folder that can be written, or engine.model to a file that qlumen export wrote"
        )
    path = folder / f"{network_sha256(bundle)[:16]}-{precision}.onnx"
    if not path.exists():
        _make(bundle, path, precision)
    return path


def _make(bundle: Bundle, path: Path, precision: Precision) -> None:
    check_exporter("ONNX file", "onnx")
    from qlumen.networks.torch_formats import write_onnx

    log.info("making %s", path)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    write_onnx(bundle, part, precision)
    part.replace(path)


def _session(
    model: Path, options: OnnxOptions, *, graph: bool | None = None
) -> ort.InferenceSession:
    """Open the file on a card as a CUDA graph, which one thread may run, or without one."""
    if graph is None:
        graph = options.device != "cpu" and options.streams == 1
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    cores = options.threads or usable_cores()
    settings.intra_op_num_threads = max(1, cores // options.streams)
    wanted = providers(options, graph=graph)
    try:
        session = ort.InferenceSession(str(model), settings, providers=wanted)
    except FAILURES as error:
        reason = " ".join(str(error).split())
        if graph:
            log.warning("ONNX Runtime runs without a CUDA graph: %s", reason)
            return _session(model, options, graph=False)
        raise EngineError(f"ONNX Runtime cannot load {model}: {reason}") from error
    lost = {name for name, _ in wanted} - set(session.get_providers())
    if lost:
        log.warning("%s does not load, so ONNX Runtime goes without it", ", ".join(sorted(lost)))
    if lost >= {name for name, _ in wanted if name in GPU_PROVIDERS} and options.device != "cpu":
        raise EngineError(
            "ONNX Runtime has no provider for cuda that loads: install the libraries of CUDA that "
            "onnxruntime-gpu needs, or set engine.device=cpu"
        )
    return session


def providers(options: OnnxOptions, *, graph: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Return the providers for the device in order, with their options.

    TensorRT keeps its engines in the user's cache; otherwise it builds at each start.
    """
    device, _, number = options.device.partition(":")
    if device == "cpu":
        return [(name, {}) for name in CPU_PROVIDERS]
    found = [name for name in GPU_PROVIDERS if name in ort.get_available_providers()]
    if not found:
        raise EngineError(
            f"this ONNX Runtime has {', '.join(ort.get_available_providers())}, none for cuda; "
            "pip install onnxruntime-gpu in its place, or set engine.device=cpu"
        )
    card = {"device_id": int(number or 0)}
    folder = cache_folder("tensorrt-onnx")
    kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)} if folder else {}
    half = {"trt_fp16_enable": options.precision == "f16"}
    own: dict[str, dict[str, Any]] = {
        "TensorrtExecutionProvider": card | half | kept | {"trt_cuda_graph_enable": graph},
        "CUDAExecutionProvider": card | {"use_tf32": False, "enable_cuda_graph": graph},
    }
    return [*((name, own[name]) for name in found), *((name, {}) for name in CPU_PROVIDERS)]


def _sizes(model: Path, session: ort.InferenceSession) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return width and height of the input, then of the output."""
    takes, gives = session.get_inputs(), session.get_outputs()
    types = [port.type for port in (*takes, *gives)]
    if types == ["tensor(uint8)", "tensor(float)"] and len(takes) == 1:
        match takes[0].shape, gives[0].shape:
            case [1, int(height), int(width), 3], [1, 1, int(rows), int(columns)]:
                return (width, height), (columns, rows)
    found = "; ".join(f"{port.name} {port.shape} {port.type}" for port in (*takes, *gives))
    raise EngineError(
        f"{model} has {found}; it needs one input (1, H, W, 3) uint8, one output (1, 1, h, w) "
        "float32: write it with qlumen export --format onnx"
    )
