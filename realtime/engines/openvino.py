"""The default engine: OpenVINO on the CPU."""

from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov

from qlumen.realtime.caches import cache_folder
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.errors import EngineError
from qlumen.realtime.frames import Image


class OpenVinoEngine(Engine):
    """Compiles an OpenVINO model for latency.

    Requests in flight, more of them than streams, keep the cores busy while other stages
    work. One stream over all threads gives a frame its map soonest; two streams of half the
    threads finish more frames, since none waits for a core that decodes.

    Args:
        model: the `.xml` of a bundle; input `(1, H, W, 3) uint8`, output `(1, 1, h, w) float32`.
        threads: of all inferences together; 0 takes all cores.
        streams: inferences that run side by side and share the threads.
        requests: frames that may be in flight.
        precision: `f32` or `bf16`, of the arithmetic.

    Raises:
        EngineError: the model cannot be read or compiled here.
    """

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 0,
        streams: int = 1,
        requests: int = 2,
        precision: str = "f32",
    ) -> None:
        core = caching_core()
        try:
            self._compiled = core.compile_model(
                str(model), "CPU", cpu_options(threads, precision, streams)
            )
        except RuntimeError as error:
            raise cannot_compile(model, error) from error
        _, height, width, _ = self._compiled.input(0).shape
        *_, rows, columns = self._compiled.output(0).shape
        self.input_size = (width, height)
        self.output_size = (columns, rows)
        self.requests = requests
        self._options = {
            "threads": threads,
            "streams": streams,
            "requests": requests,
            "precision": precision,
        }
        self._requests = [self._compiled.create_infer_request() for _ in range(requests)]
        self._free: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for request in self._requests:
            self._free.put(request)

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        request = self._free.get()
        try:
            request.set_input_tensor(ov.Tensor(image[None], shared_memory=True))
            request.start_async()
        except RuntimeError as error:
            self._free.put(request)
            raise EngineError(f"OpenVINO does not take a frame: {error}") from error
        return _Pending(request, image, self._free)

    def describe(self) -> dict[str, Any]:
        return {"name": "openvino", "version": ov.__version__, "device": "CPU", **self._options}

    def close(self) -> None:
        for request in self._requests:
            request.wait()
        self._requests.clear()


def caching_core() -> ov.Core:
    """A core that keeps compiled networks in the user's cache folder."""
    core = ov.Core()
    if cache := cache_folder("openvino"):
        core.set_property({"CACHE_DIR": str(cache)})
    return core


def cpu_options(threads: int, precision: str, streams: int = 1) -> dict[str, Any]:
    """`streams` share `threads` threads, 0: all cores; arithmetic in `precision`."""
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": precision,
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return options


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

    def discard(self) -> None:
        with suppress(EngineError):
            self.result()
