"""Runs torch networks on an NVIDIA GPU: a frame is one launch of a CUDA graph.

pinned image -> GPU -> network -> pinned map
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
    """Holds a frame in flight: its memory on the host, and what sends it through the network."""

    image: Tensor
    map: Tensor
    launch: Callable[[], None]
    graph: bool
    done: torch.cuda.Event


class CudaEngine(Engine):
    """Runs `run` on a GPU, one frame after another; a frame is one launch of a CUDA graph.

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
        self._stream = torch.cuda.Stream(device)
        # The graphs read the memory of both.
        self._run = run
        self._image = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=device)
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        try:
            with OPENING:
                output, pool = self._warm_up_kernels(), torch.cuda.graph_pool_handle()
                slots = [self._slot(output, pool) for _ in range(requests)]
        except RuntimeError as error:
            raise _engine_error(error) from error
        for slot in slots:
            self._free.put(slot)
        *_, rows, columns = output.shape
        self.input_size, self.output_size, self.requests = size, (columns, rows), requests
        self._extra = about | {
            "device": torch.cuda.get_device_name(device),
            "cuda_graph": all(slot.graph for slot in slots),
            "requests": requests,
        }

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        if self._closed:
            raise self.closed_error()
        slot = self._free.get()
        slot.image.numpy()[0] = image
        try:
            with self._launching, torch.cuda.stream(self._stream):
                slot.launch()
                slot.done.record(self._stream)
        except RuntimeError as error:
            self._free.put(slot)
            raise _engine_error(error) from error
        return _Pending(slot, self._free)

    def _warm_up_kernels(self) -> Tensor:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for _ in range(CAPTURE_WARM_UPS):
                output = self._compute()
        self._stream.synchronize()
        return output

    def _compute(self) -> Tensor:
        with torch.no_grad(), exact_convolutions():
            return self._run(self._image)

    def _slot(self, output: Tensor, pool: Any) -> _Slot:
        """Make a slot; all share memory on the GPU, where one frame runs after another."""
        image, map_ = pinned_like(self._image), pinned_like(output)

        def launch() -> None:
            self._image.copy_(image, non_blocking=True)
            map_.copy_(self._compute(), non_blocking=True)

        replay = capture(launch, self._stream, pool)
        done = torch.cuda.Event(blocking=True)
        return _Slot(image, map_, replay or launch, replay is not None, done)

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
            return np.array(self._slot.map[0, 0].numpy())
        except RuntimeError as error:
            raise _engine_error(error) from error
        finally:
            self._free.put(self._slot)


def pinned_like(tensor: Tensor) -> Tensor:
    """Return host memory of the same shape, which a graph may copy from and to."""
    return torch.zeros_like(tensor, device="cpu", pin_memory=True)


def capture(
    launch: Callable[[], None], stream: torch.cuda.Stream, pool: Any
) -> Callable[[], None] | None:
    """Return what `launch` does as one CUDA graph; if it cannot be captured, log why."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            launch()
    except RuntimeError as error:
        log.warning("the network runs without a CUDA graph: %s", _reason(error))
        return None
    return graph.replay


def _engine_error(error: RuntimeError) -> EngineError:
    return EngineError(f"torch failed on CUDA: {_reason(error)}")


def _reason(error: RuntimeError) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
