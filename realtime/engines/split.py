"""Runs a live circuit: the network in two halves around an executor.

    image -> head (OpenVINO) -> executor -> tail (OpenVINO) -> map

The tables of the compiled network are left out; everything else is the same network.
"""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from qlumen.errors import EngineError
from qlumen.networks.graph import cut_at_circuit
from qlumen.networks.openvino import ov
from qlumen.quantum.executors import Executor
from qlumen.realtime.engines.base import Engine, Probability, Ticket, drain
from qlumen.realtime.engines.openvino import (
    CPU,
    CpuOptions,
    about,
    caching_core,
    cannot_compile,
    run_apart,
)
from qlumen.realtime.pixels.arrays import Image


class SplitEngine(Engine):
    """Runs the head when a frame is submitted, and circuit and tail when its map is read.

    Args:
        model: `.xml` of a bundle with a circuit.
        executor: executor of the circuit; it is closed with the engine.
        n_inputs: number of the circuit's inputs.
        options: as for `OpenVinoEngine`.

    Raises:
        EngineError: the model cannot be read or compiled here.
        BundleError: the model has no named circuit to cut at.
    """

    def __init__(
        self, model: Path, executor: Executor, n_inputs: int, options: CpuOptions | None = None
    ) -> None:
        self._executor, self._n_inputs = executor, n_inputs
        self._options = options = options or CpuOptions()
        core = caching_core(model)
        try:
            halves = cut_at_circuit(core.read_model(model))
            head, tail = run_apart(
                lambda: [
                    core.compile_model(half, CPU, options.properties())
                    for half in (halves.head, halves.tail)
                ]
            )
        except RuntimeError as error:
            raise cannot_compile(model, error) from error
        _, height, width, _ = head.input(0).shape
        *_, rows, columns = tail.output(0).shape
        self.input_size, self.output_size = (width, height), (columns, rows)
        self.requests = options.requests
        self._pairs = [
            (head.create_infer_request(), tail.create_infer_request()) for _ in range(self.requests)
        ]
        self._free: SimpleQueue[tuple[ov.InferRequest, ov.InferRequest]] = SimpleQueue()
        for pair in self._pairs:
            self._free.put(pair)

    def submit(self, image: Image) -> Ticket:
        self.check_input(image)
        if not self._pairs:
            raise self.closed_error()
        pair = self._free.get()
        pair[0].set_input_tensor(ov.Tensor(image[None], shared_memory=True))
        pair[0].start_async()
        return _Pending(self, pair, image)

    def finish(self, pair: tuple[ov.InferRequest, ov.InferRequest]) -> Probability:
        """Run circuit and tail of a frame whose head is running."""
        head, tail = pair
        head.wait()
        angles, *carried = (tensor.data for tensor in head.output_tensors)
        rows = angles.reshape(-1, self._n_inputs).astype(np.float64)
        outputs = self._executor(rows).astype(np.float32)
        tail.infer([outputs.reshape(tail.input_tensors[0].shape), *carried])
        return np.array(tail.get_output_tensor(0).data[0, 0], dtype=np.float32)

    def release(self, pair: tuple[ov.InferRequest, ov.InferRequest]) -> None:
        """Free the requests for the next frame."""
        self._free.put(pair)

    def _about(self) -> dict[str, Any]:
        return about("openvino-split", self._options) | {"quantum": self._executor.describe()}

    def close(self) -> None:
        for head, _ in self._pairs:
            head.wait()
        self._pairs.clear()
        drain(self._free)
        self._executor.close()


class _Pending(Ticket):
    def __init__(
        self, engine: SplitEngine, pair: tuple[ov.InferRequest, ov.InferRequest], image: Image
    ) -> None:
        self._engine, self._pair = engine, pair
        self._image = image  # OpenVINO reads it without holding a reference

    def result(self) -> Probability:
        try:
            return self._engine.finish(self._pair)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        finally:
            self._engine.release(self._pair)

    def discard(self) -> None:
        self._pair[0].wait()
        self._engine.release(self._pair)
