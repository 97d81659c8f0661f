"""The default engine: OpenVINO on the CPU, or on a GPU or NPU that it knows."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from qlumen.errors import EngineError
from qlumen.networks.openvino import ov
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.pixels.arrays import Image
from qlumen.system.caches import content_folder

CPU = "CPU"


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """How OpenVINO uses the processor.

    Requests in flight, more of them than streams, keep the cores busy while other stages
    work. One stream over all threads gives a frame its map soonest; two streams of half the
    threads finish more frames, since none waits for a core that decodes.

    Attributes:
        threads: of all inferences together; 0 takes all cores.
        streams: inferences that run side by side and share the threads.
        requests: frames that may be in flight.
        precision: `f32`, `bf16` or `f16`, of the arithmetic. A quantised network computes in
            eight bits where its graph says so, and in this elsewhere.
    """

    threads: int = 0
    streams: int = 1
    requests: int = 2
    precision: str = "f32"

    def properties(self, device: str = CPU) -> dict[str, Any]:
        """What `ov.Core.compile_model` takes; threads are a matter of the CPU alone."""
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": self.streams,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        if self.threads and device == CPU:
            properties["INFERENCE_NUM_THREADS"] = self.threads
        return properties


class OpenVinoEngine(Engine):
    """Compiles an OpenVINO model for latency.

    Args:
        model: the `.xml` of a bundle; input `(1, H, W, 3) uint8`, output `(1, 1, h, w) float32`.
        options: none: one stream over all cores.
        device: `CPU`, `GPU`, `GPU.1` or `NPU`.

    Raises:
        EngineError: the model cannot be read or compiled here, or there is no such device.
    """

    def __init__(self, model: Path, options: CpuOptions | None = None, device: str = CPU) -> None:
        self._options = options = options or CpuOptions()
        self._device = device
        core = caching_core(model)
        _check_device(core, device)
        try:
            compiled = core.compile_model(str(model), device, options.properties(device))
        except RuntimeError as error:
            raise cannot_compile(model, error) from error
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


def drain(free: SimpleQueue[Any]) -> None:
    """Let go of all requests, and with them of the network and its threads: those that are
    left when the interpreter ends can abort the process."""
    with suppress(Empty):
        while True:
            free.get_nowait()


def caching_core(model: Path) -> ov.Core:
    """A core that keeps the compiled network in the user's cache folder.

    OpenVINO takes a network for the one that it has in its cache if the `.xml` is the same,
    whatever weights lie beside it. So each content has a folder of its own.

    Raises:
        EngineError: the model's files cannot be read.
    """
    core = ov.Core()
    try:
        cache = content_folder("openvino", _files(model))
    except OSError as error:
        raise EngineError(f"{error.filename} cannot be read: {error.strerror}") from error
    if cache:
        core.set_property({"CACHE_DIR": str(cache)})
    return core


def _files(model: Path) -> list[Path]:
    """The `.xml` and its weights; an ONNX file is one alone."""
    return [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]


def about(name: str, options: CpuOptions, device: str = CPU) -> dict[str, Any]:
    """An engine's name, version, device and settings."""
    return {"name": name, "version": ov.__version__, "device": device, **asdict(options)}


def devices() -> dict[str, str]:
    """The devices that OpenVINO finds here, with their full names."""
    core = ov.Core()
    return {name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}


def _check_device(core: ov.Core, device: str) -> None:
    found = core.available_devices
    if device.partition(".")[0] not in {name.partition(".")[0] for name in found}:
        raise EngineError(
            f"OpenVINO finds no {device} here, but {', '.join(found)}; set engine.device to one "
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
            return np.array(self._request.get_output_tensor(0).data[0, 0], dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        finally:
            self._free.put(self._request)
