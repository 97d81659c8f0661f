"""Runs TensorRT-RTX: NVIDIA's compiler for RTX GPUs, without torch.

    bundle -> ONNX -> plan             once, on any machine, with or without a GPU
    plan -> kernels for this GPU       at the first start on a GPU, which takes seconds
    image -> GPU -> CUDA graph -> map

A plan runs on GPUs of compute capability 8.0, 8.6, 8.9, 12.0 and later. Plans and kernels are kept
on disk, each under all that it depends on.
"""

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tensorrt_rtx_bindings as rtx

from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle, Precision
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.base import OPENING, Probability, WorkerEngine, gpu_precision
from qlumen.realtime.engines.cache import EngineCache, EngineKey, unpack_engine
from qlumen.realtime.engines.cuda_driver import CudaDevice
from qlumen.realtime.engines.presence import RTX_PACKAGE, check_exporter
from qlumen.realtime.pixels.arrays import Image

INPUT, OUTPUT = "image", "map"
"""Names of the network's input and output in ONNX."""
log = logging.getLogger(__name__)


def open_tensorrt_rtx(bundle: Bundle, settings: EngineSettings) -> "TensorRtRtxEngine":
    """Open the engine that the settings ask for; compile its plan if there is none.

    Raises:
        ConfigError: as `gpu_precision`.
        EngineError: there is no driver or no such GPU, TensorRT-RTX does not support the GPU, or
            `engine.model` is no plan of this network and version.
        MissingExtraError, BundleError: as `make_plan`.
    """
    precision, cache = gpu_precision(settings), EngineCache("tensorrt-rtx")
    key = plan_key(bundle, precision)
    kept = read_plan(settings.model, key) if settings.model else cache.load(key)
    number = (settings.device or "cuda").partition(":")[2] or "0"
    with ExitStack() as opened:
        device = opened.enter_context(CudaDevice(int(number)))
        plan, gpu = kept or make_plan(bundle, precision), device.gpu
        on_gpu = replace(key, gpu=f"{gpu.name} {gpu.capability}", driver=gpu.driver)
        kernels = cache.load(on_gpu)
        about = {"precision": key.precision, "version": rtx.__version__}
        engine = TensorRtRtxEngine(plan, device, kernels, requests=settings.requests, about=about)
        opened.enter_context(engine)
        if kept is None or kernels is None:  # kept after a frame ran
            engine.warm_up()
            cache.store(on_gpu, engine.kernels())
        if kept is None:
            cache.store(key, plan)
        opened.pop_all()
        return engine


class TensorRtRtxEngine(WorkerEngine):
    """Runs a plan of `compile_plan` on a GPU, one frame after another, as a CUDA graph.

    Args:
        device: GPU, which is closed with the engine.
        kernels: what `kernels` returned on an equal GPU; others are not used.
        about: facts for `describe`.

    Raises:
        EngineError: TensorRT-RTX cannot load the plan on this GPU.
    """

    def __init__(
        self,
        plan: bytes,
        device: CudaDevice,
        kernels: bytes | None = None,
        *,
        requests: int,
        about: dict[str, Any],
    ) -> None:
        self._device, self._extra, self._messages = device, about, Messages()
        with OPENING, device.current():
            self._runtime = rtx.Runtime(self._messages)
            engine = load_plan(plan, self._runtime, self._messages, device.gpu.name)
            self._context, self._kernels = make_context(engine, kernels)
            _, height, width, _ = engine.get_tensor_shape(INPUT)
            *_, rows, columns = engine.get_tensor_shape(OUTPUT)
            self._image = device.allocate(3 * height * width)
            self._map = device.allocate(4 * rows * columns)
            self._context.set_tensor_address(INPUT, self._image)
            self._context.set_tensor_address(OUTPUT, self._map)
        super().__init__((width, height), (columns, rows), streams=1, requests=requests)

    def kernels(self) -> bytes:
        """Return the kernels that were compiled for this GPU so far."""
        with self._device.current():
            return bytes(self._kernels.serialize())

    def _compute(self, image: Image) -> Probability:
        with self._device.current():
            self._device.upload(image, self._image)
            if not self._context.execute_async_v3(self._device.stream):
                raise EngineError(f"TensorRT-RTX failed on a frame: {self._messages.last}")
            return self._device.download(self._map, self.output_size[::-1])

    def _about(self) -> dict[str, Any]:
        device, requests = self._device.gpu.name, self.requests
        return {"name": "tensorrt-rtx", "device": device, "requests": requests, **self._extra}

    def close(self) -> None:
        super().close()
        if self._context is not None:
            with self._device.current():
                self._context = self._kernels = self._runtime = None
        self._device.close()


def make_plan(bundle: Bundle, precision: Precision) -> bytes:
    """Export a bundle's network as ONNX, in 8 bits if it has ranges, and compile it.

    Raises:
        MissingExtraError: torch or onnx is missing.
        BundleError: the bundle holds no torch weights.
        EngineError: as `compile_plan`.
    """
    check_exporter("plan", "tensorrt-rtx")
    from qlumen.networks.torch_formats import write_onnx

    log.info("compiling the network with TensorRT-RTX")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(bundle, path, precision, eight_bit=bundle.ranges is not None)
        return compile_plan(path.read_bytes())


def compile_plan(model: bytes) -> bytes:
    """Compile the content of an ONNX file, which needs no GPU, with `f32` in IEEE precision.

    Raises:
        EngineError: TensorRT-RTX cannot read or compile it.
    """
    messages = Messages()
    builder = rtx.Builder(messages)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, messages)
    if not parser.parse(model):
        reason = parser.get_error(0).desc() if parser.num_errors else messages.last
        raise EngineError(f"TensorRT-RTX cannot read the network: {reason}")
    config = builder.create_builder_config()
    config.clear_flag(rtx.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT-RTX cannot compile the network: {messages.last}")
    return bytes(plan)


def plan_key(bundle: Bundle, precision: Precision) -> EngineKey:
    """Return what a plan depends on; the GPU and its driver are not among it."""
    return EngineKey.of(bundle, precision, "8.0 and later", "any", RTX_PACKAGE)


def read_plan(path: Path, key: EngineKey) -> bytes:
    """Return the plan in a file of `qlumen export`.

    Raises:
        EngineError: the file cannot be read, is damaged, or is another network's, precision's or
            version's.
    """
    try:
        return unpack_engine(path.read_bytes(), key)
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EngineError(
            f"{path} is no plan of the network in {key.precision} for TensorRT-RTX "
            f"{rtx.__version__} ({error}): write it again with qlumen export --format "
            "tensorrt-rtx, or set engine.precision to its own"
        ) from error


def load_plan(plan: bytes, runtime: Any, messages: "Messages", gpu: str) -> Any:
    """Return the engine of a plan on the current GPU.

    Raises:
        EngineError: TensorRT-RTX does not support the GPU, or refuses the plan.
    """
    validity, found = runtime.get_engine_validity(plan)
    refused = validity == rtx.EngineValidity.INVALID
    engine = None if refused else runtime.deserialize_cuda_engine(plan)
    if engine is None:
        kinds = rtx.EngineInvalidityDiagnostics.__members__.items()
        reasons = [name.lower().replace("_", " ") for name, bit in kinds if found & bit.value]
        reason = ", ".join(reasons) or messages.last
        raise EngineError(f"TensorRT-RTX {rtx.__version__} cannot run on {gpu}: {reason}")
    return engine


def make_context(engine: Any, kernels: bytes | None) -> tuple[Any, Any]:
    """Return what runs the engine as one CUDA graph, and the kernels that it compiles."""
    config = engine.create_runtime_config()
    config.cuda_graph_strategy = rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    cache = config.create_runtime_cache()
    if kernels is not None and not cache.deserialize(kernels):
        log.warning("the kernels in the cache are not for this GPU, and are compiled again")
    config.set_runtime_cache(cache)
    context = engine.create_execution_context(config)
    if context is None:
        raise EngineError("TensorRT-RTX has no memory on the GPU for the network")
    return context, cache


class Messages(rtx.ILogger):
    """Keeps the last error of TensorRT-RTX, which prints all that it says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "it gives no reason"

    def log(self, severity: Any, text: str) -> None:
        if severity in (rtx.ILogger.Severity.ERROR, rtx.ILogger.Severity.INTERNAL_ERROR):
            self.last = text.splitlines()[0]
