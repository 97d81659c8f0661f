"""Runs torch networks on an NVIDIA GPU with one CUDA graph, pinned buffers and copy streams.

upload stream     frame 1   frame 2 ...
compute stream        frame 1   frame 2 ...
download stream           frame 1   frame 2 ...
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.base import (
    OPENING,
    Engine,
    Probability,
    Ticket,
    drain,
    gpu_precision,
)
from qlumen.realtime.pixels.arrays import Image

CAPTURE_WARM_UPS = 3
"""Number of runs before a graph is captured, in which libraries choose their kernels."""
GPU_COMPILE = {"max_autotune": True, "coordinate_descent_tuning": True, "freezing": True}
"""Options of `torch.compile`: the mode max-autotune-no-cudagraphs, with weights as constants."""
log = logging.getLogger(__name__)


def open_cuda(bundle: Bundle, settings: EngineSettings, device: str) -> "CudaEngine":
    """Open the bundle's torch network on `device`, such as `cuda` or `cuda:1`.

    Raises:
        ConfigError: as `gpu_precision`.
        EngineError: torch has no such device, or fails on it.
        BundleError: the bundle holds no torch weights.
    """
    precision = gpu_precision(settings)
    found = check_cuda(device)
    network = put_channels_last(deploy_network(bundle, precision)).to(found)
    run = compile_network(network, GPU_COMPILE) if settings.compile else network
    spec = bundle.manifest.input
    about = {"name": "torch", "version": torch.__version__, "compile": settings.compile}
    return CudaEngine(
        run, (spec.width, spec.height), found,
        requests=settings.requests, about=about | {"precision": precision},
    )  # fmt: skip


def device_names() -> list[str]:
    """Return the GPUs that the installed torch can use."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def check_cuda(device: str) -> torch.device:
    """Return the device with its number; raise EngineError if torch does not have it."""
    wanted = torch.device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = wanted.index or 0
    if index >= count:
        raise EngineError(
            f"torch {torch.__version__} finds {count} CUDA devices, not number {index}; "
            "set engine.device=cpu, or install NVIDIA's driver and a torch with CUDA"
        )
    return torch.device("cuda", index)


def compile_network(
    network: nn.Module, options: dict[str, Any] | None = None
) -> Callable[[Tensor], Tensor]:
    """Compile `network` for its one shape, at the first call, with inductor's `options`."""
    made: Callable[[Tensor], Tensor] = torch.compile(
        network, dynamic=False, fullgraph=True, options=options
    )
    return made


def put_channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights out as NVIDIA's half-precision convolutions read them, and return `network`.

    The image's bytes already lie that way, so no layer between converts.
    """
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let cuDNN time its kernels and compute `f32` in IEEE single precision, not in TF32.

    TF32, torch's default, changes up to 2 pixels in 10,000 of a real image's mask.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled, benchmark=True, allow_tf32=False, fp32_precision="ieee"
    ):
        yield


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """Holds the memory of a frame in flight: pinned on the host, and on the device."""

    host_image: Tensor
    host_map: Tensor
    image: Tensor
    map: Tensor
    uploaded: torch.cuda.Event
    computed: torch.cuda.Event
    done: torch.cuda.Event


class CudaEngine(Engine):
    """Runs `run` on a GPU, one frame after another, while other frames are copied.

    Args:
        run: function from `(1, H, W, 3) uint8` to `(1, 1, h, w) float32`, both on `device`.
        size: width and height of the input in pixels.
        about: facts for `describe`.

    Raises:
        EngineError: `run` fails on a first image.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        size: tuple[int, int],
        device: torch.device,
        *,
        requests: int,
        about: dict[str, Any],
    ) -> None:
        width, height = size
        self._device, self._closed, self._launching = device, False, Lock()
        self._upload, self._compute, self._download = (torch.cuda.Stream(device) for _ in range(3))
        self._input = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=device)
        try:
            with OPENING:
                self._replay, self._output, graph = capture(run, self._input, self._compute)
        except RuntimeError as error:
            raise _engine_error(error) from error
        *_, rows, columns = self._output.shape
        self.input_size, self.output_size, self.requests = size, (columns, rows), requests
        self._extra = about | {
            "device": torch.cuda.get_device_name(device),
            "cuda_graph": graph,
            "requests": requests,
        }
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        for _ in range(requests):
            self._free.put(self._slot())
        torch.cuda.synchronize(device)  # the slots' memory was cleared on another stream

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        if self._closed:
            raise self.closed_error()
        slot = self._free.get()
        slot.host_image.numpy()[0] = image
        try:
            with self._launching:
                self._launch(slot)
        except RuntimeError as error:
            self._free.put(slot)
            raise _engine_error(error) from error
        return _Pending(slot, self._free)

    def _launch(self, slot: _Slot) -> None:
        with torch.cuda.stream(self._upload):
            slot.image.copy_(slot.host_image, non_blocking=True)
            slot.uploaded.record(self._upload)
        self._compute.wait_event(slot.uploaded)
        with torch.cuda.stream(self._compute):
            self._input.copy_(slot.image)
            slot.map.copy_(self._replay())
            slot.computed.record(self._compute)
        self._download.wait_event(slot.computed)
        with torch.cuda.stream(self._download):
            slot.host_map.copy_(slot.map, non_blocking=True)
            slot.done.record(self._download)

    def _slot(self) -> _Slot:
        image, map_ = torch.zeros_like(self._input), torch.zeros_like(self._output)
        return _Slot(
            torch.zeros_like(image, device="cpu", pin_memory=True),
            torch.zeros_like(map_, device="cpu", pin_memory=True),
            image,
            map_,
            torch.cuda.Event(),
            torch.cuda.Event(),
            torch.cuda.Event(blocking=True),
        )

    def _about(self) -> dict[str, Any]:
        return dict(self._extra)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with suppress(RuntimeError):
                torch.cuda.synchronize(self._device)
            drain(self._free)


class _Pending(Ticket):
    def __init__(self, slot: _Slot, free: "SimpleQueue[_Slot]") -> None:
        self._slot, self._free = slot, free

    def result(self) -> Probability:
        try:
            self._slot.done.synchronize()
            return np.array(self._slot.host_map[0, 0].numpy())
        except RuntimeError as error:
            raise _engine_error(error) from error
        finally:
            self._free.put(self._slot)


def capture(
    run: Callable[[Tensor], Tensor], image: Tensor, stream: torch.cuda.Stream
) -> tuple[Callable[[], Tensor], Tensor, bool]:
    """Return a function for the map of `image`, its first map, and whether it is one graph; a
    network that cannot be captured is launched operation by operation."""

    def launch() -> Tensor:
        with torch.no_grad(), exact_convolutions():
            return run(image)

    stream.wait_stream(torch.cuda.current_stream(image.device))
    with torch.cuda.stream(stream):
        for _ in range(CAPTURE_WARM_UPS):
            output = launch()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = launch()
    except RuntimeError as error:
        log.warning("the network runs without a CUDA graph: %s", _reason(error))
        return launch, output, False

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay, output, True


def _engine_error(error: RuntimeError) -> EngineError:
    return EngineError(f"torch failed on CUDA: {_reason(error)}")


def _reason(error: RuntimeError) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
