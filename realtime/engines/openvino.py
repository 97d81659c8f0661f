"""Runs the default engine, OpenVINO, on the CPU, or on a GPU or NPU that it supports."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from qlumen.errors import EngineError
from qlumen.networks.openvino import ov
from qlumen.realtime.engines.base import Engine, Probability, Ticket, drain
from qlumen.realtime.pixels.arrays import Image
from qlumen.system.caches import content_folder
from qlumen.system.machine import limited_cores
from qlumen.system.threads import start_pool

T = TypeVar("T")
CPU = "CPU"


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """Describes how OpenVINO uses the processor.

    More requests in flight than streams keep the cores busy while other stages work. One stream
    over all threads finishes a frame's map soonest. Two streams with half the threads each
    finish more frames, because none of them waits for a core that decodes.

    Attributes:
        threads: number of threads of all inferences together; 0 takes all cores.
        streams: number of inferences that run side by side and share the threads.
        requests: number of frames that may be in flight.
        precision: precision of the arithmetic: `f32`, `bf16` or `f16`. A quantised network
            computes in 8 bits where its graph says so, and in this precision elsewhere.
    """

    threads: int = 0
    streams: int = 1
    requests: int = 2
    precision: str = "f32"

    def properties(self, device: str = CPU) -> dict[str, Any]:
        """Return the properties for `ov.Core.compile_model`; only the CPU takes a thread count."""
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": self.streams,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        threads = self.threads or limited_cores()
        if threads and device == CPU:
            properties["INFERENCE_NUM_THREADS"] = threads
        return properties


class OpenVinoEngine(Engine):
    """Compiles and runs an OpenVINO model for low latency.

    Args:
        model: `.xml` of a bundle; input `(1, H, W, 3) uint8`, output `(1, 1 + k, h, w) float32`.
        options: options of the CPU; None for one stream over all cores.
        device: `CPU`, `GPU`, `GPU.1` or `NPU`.

    Raises:
        EngineError: the model cannot be read or compiled here, or there is no such device.
    """

    def __init__(self, model: Path, options: CpuOptions | None = None, device: str = CPU) -> None:
        self._options = options = options or CpuOptions()
        self._device = device
        compiled = run_apart(lambda: _compile(model, device, options))
        _, height, width, _ = compiled.input(0).shape
        *_, rows, columns = compiled.output(0).shape
        self.input_size = (width, height)
        self.output_size = (columns, rows)
        self.requests = options.requests
        self._requests = [compiled.create_infer_request() for _ in range(self.requests)]
        self._free: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for request in self._requests:
            self._free.put(request)

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        if not self._requests:
            raise self.closed_error()
        request = self._free.get()
        try:
            request.set_input_tensor(ov.Tensor(image[None], shared_memory=True))
            request.start_async()
        except RuntimeError as error:
            self._free.put(request)
            raise EngineError(f"OpenVINO does not take a frame: {error}") from error
        return _Pending(request, image, self._free)

    def _about(self) -> dict[str, Any]:
        return about("openvino", self._options, self._device)

    def close(self) -> None:
        for request in self._requests:
            request.wait()
        self._requests.clear()
        drain(self._free)


def caching_core(model: Path) -> ov.Core:
    """Return a core that keeps the compiled network in the user's cache folder.

    Each content has its own folder, because OpenVINO compares only the `.xml` with its cache and
    not the weights beside it.

    Raises:
        EngineError: the model's files cannot be read.
    """
    core = ov.Core()
    try:
        files = [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]
        cache = content_folder("openvino", files)
    except OSError as error:
        raise EngineError(f"{error.filename} cannot be read: {error.strerror}") from error
    if cache:
        core.set_property({"CACHE_DIR": str(cache)})
    return core


def run_apart(compile_: Callable[[], T]) -> T:
    """Compile in a thread of its own.

    OpenVINO 2026.4 gives the thread that compiles a signal stack, and unmaps it in the thread that
    drops the network. If the first one is main and the second is not, the next signal ends the
    process.
    """
    with start_pool("compile", 1) as other:
        return other.submit(compile_).result()


def _compile(model: Path, device: str, options: CpuOptions) -> ov.CompiledModel:
    core = caching_core(model)
    _check_device(core, device)
    try:
        return core.compile_model(str(model), device, options.properties(device))
    except RuntimeError as error:
        raise cannot_compile(model, error) from error


def about(name: str, options: CpuOptions, device: str = CPU) -> dict[str, Any]:
    """Return an engine's name, version, device and settings."""
    return {"name": name, "version": ov.__version__, "device": device, **asdict(options)}


def devices() -> dict[str, str]:
    """Return the devices that OpenVINO finds here, with their full names."""
    core = ov.Core()
    return {name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}


def _check_device(core: ov.Core, device: str) -> None:
    found = core.available_devices
    if device.partition(".")[0] not in {name.partition(".")[0] for name in found}:
        raise EngineError(
            f"OpenVINO finds no {device} here, only {', '.join(found)}; set engine.device to one "
            "of these, or install the device's driver"
        )


def cannot_compile(model: Path, error: RuntimeError) -> EngineError:
    reason = str(error).strip().splitlines()[-1]
    return EngineError(f"OpenVINO cannot compile {model}: {reason}")


class _Pending(Ticket):
    def __init__(
        self, request: ov.InferRequest, image: Image, free: "SimpleQueue[ov.InferRequest]"
    ) -> None:
        self._request, self._free = request, free
        self._image = image  # OpenVINO reads it without holding a reference

    def result(self) -> Probability:
        try:
            self._request.wait()
            maps = self._request.get_output_tensor(0).data[0]
            return np.array(maps if len(maps) > 1 else maps[0], dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        finally:
            self._free.put(self._request)
