"""Runs torch on the CPU: eager, the reference of all engines, or with `torch.compile`."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from qlumen.errors import EngineError
from qlumen.networks.bundle import Bundle, Precision
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines.base import Engine, Probability, WorkerEngine
from qlumen.realtime.engines.cuda import compile_network, open_cuda
from qlumen.realtime.pixels.arrays import Image


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """Holds the options of torch.

    Attributes:
        precision: precision of the convolutions.
        compile: whether to use `torch.compile`, which needs a C++ compiler and takes a minute
            or more.
        threads: number of threads of one inference; 0 takes all cores.
        streams: number of inferences that run side by side.
        requests: number of frames that may be in flight.
    """

    precision: Precision = "f32"
    compile: bool = False
    threads: int = 0
    streams: int = 1
    requests: int = 2


def open_torch(bundle: Bundle, settings: EngineSettings) -> Engine:
    """Open the engine that the settings ask for, on a GPU if torch has one.

    Raises:
        EngineError: torch has no such device, or fails on it.
        BundleError: the bundle holds no torch weights.
    """
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu":
        return open_cuda(bundle, settings, device)
    threads, streams, requests = settings.threads, settings.streams, settings.requests
    precision = settings.precision or "f32"
    options = TorchOptions(precision, settings.compile, threads, streams, requests)
    return TorchEngine(bundle, options)


class TorchEngine(WorkerEngine):
    """Runs the torch network of a bundle.

    Args:
        network: another form of the network, such as one in 8 bits; None for `deploy_network`.

    Raises:
        BundleError: the bundle holds no torch weights.
        EngineError: `torch.compile` fails here.
    """

    def __init__(
        self, bundle: Bundle, options: TorchOptions | None = None, network: nn.Module | None = None
    ) -> None:
        self._options = options = options or TorchOptions()
        spec = bundle.manifest.input
        network = network or deploy_network(bundle, options.precision)
        threads = max(1, (options.threads or torch.get_num_threads()) // options.streams)
        self._run = compile_network(network) if options.compile else network
        example = torch.zeros(1, spec.height, spec.width, 3, dtype=torch.uint8)
        rows, columns = self._map(example).shape
        super().__init__(
            (spec.width, spec.height),
            (columns, rows),
            streams=options.streams,
            requests=options.requests,
            prepare=lambda: torch.set_num_threads(threads),
        )

    def _compute(self, image: Image) -> Probability:
        return np.array(self._map(torch.from_numpy(image)[None]).numpy())

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        try:
            with torch.inference_mode():
                return self._run(image)[0, 0]
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise EngineError(f"torch failed on a frame: {reason}") from error

    def _about(self) -> dict[str, Any]:
        about = {"name": "torch", "version": torch.__version__, "device": "cpu"}
        return about | asdict(self._options)
