"""Computes the circuit's outputs when a network runs, from its tables or live on a device.

Each executor maps `(rows, n_inputs)` angles to `(rows, n_outputs)` expectation values.

    SurrogateExecutor  computes from the tables, in numpy
    DeviceExecutor     runs each row on a device, in parallel where the device allows it
    Memo               asks another executor, and remembers its outputs for nearly equal rows
"""

import os
import signal
from abc import ABC, abstractmethod
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from qlumen.errors import CircuitError
from qlumen.quantum.circuits import Circuit
from qlumen.quantum.devices import DEVICES, Device, FloatArray
from qlumen.quantum.surrogate import Surrogate, sample_surrogate

SURROGATE = "surrogate"
EXECUTORS = (SURROGATE, *DEVICES)
IN_PROCESSES = ("lightning.qubit",)
"""Devices that run one circuit at a time, but in several processes in parallel."""
ROWS_PER_WORKER = 8
"""With fewer rows, other processes cost more than they save."""


class Executor(ABC):
    @abstractmethod
    def __call__(self, angles: FloatArray) -> FloatArray:
        """Map `(rows, n_inputs)` angles in radians to `(rows, n_outputs)` expectation values."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return name, settings and counts, for summaries."""

    def close(self) -> None:  # noqa: B027 - most have nothing to release
        """Release the device. A second call does nothing."""


def open_executor(
    circuit: Circuit,
    weights: FloatArray,
    device: Device | None,
    *,
    memo_step: float = 0.0,
    memo_entries: int = 0,
    workers: int = 1,
) -> Executor:
    """Open the tables if `device` is None, else the device, behind a memo if it has entries.

    Raises:
        MissingExtraError: the device is not available.
        CircuitError: the device does not take the circuit, or the tables would be too large.
    """
    if device is None:
        return SurrogateExecutor(sample_surrogate(circuit, weights))
    live = DeviceExecutor(circuit, weights, device, workers=workers)
    return Memo(live, circuit, memo_step, memo_entries) if memo_entries else live


class SurrogateExecutor(Executor):
    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate

    def __call__(self, angles: FloatArray) -> FloatArray:
        return self._surrogate(angles)

    def describe(self) -> dict[str, Any]:
        return {"executor": SURROGATE, "circuit": self._surrogate.circuit.name}


class DeviceExecutor(Executor):
    """Runs the circuit for each row.

    `default.qubit` and `default.mixed` take all rows in one run. `lightning.qubit` shares them
    among processes. `lightning.gpu` gets one row after the other.

    Args:
        workers: number of processes; 0 for one per core.
    """

    def __init__(
        self, circuit: Circuit, weights: FloatArray, device: Device, *, workers: int = 1
    ) -> None:
        device.check(circuit)
        self._circuit, self._weights, self._device = circuit, weights, device
        self._workers = (workers or os.cpu_count() or 1) if device.name in IN_PROCESSES else 1
        self._pool = self._open_pool() if self._workers > 1 else None

    def __call__(self, angles: FloatArray) -> FloatArray:
        if self._pool is None or len(angles) < ROWS_PER_WORKER * self._workers:
            return self._device.run(self._circuit, self._weights, angles)
        shares = np.array_split(angles, self._workers)
        try:
            run = partial(self._device.run, self._circuit, self._weights)
            return np.concatenate(list(self._pool.map(run, shares)))
        except BrokenProcessPool as error:
            raise CircuitError(
                "a process that runs circuits has ended; set quantum.workers=1"
            ) from error

    def describe(self) -> dict[str, Any]:
        return {
            "executor": self._device.name,
            "circuit": self._circuit.name,
            "shots": self._device.shots,
            "depolarizing": self._device.depolarizing,
            "readout_error": self._device.readout_error,
            "workers": self._workers,
        }

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _open_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            mp_context=get_context("spawn"),  # a fork would copy locks of the engine's threads
            initializer=_start_worker,
        )


class Memo(Executor):
    """Rounds each input to a multiple of `step` and remembers the outputs.

    The least recently used rows are forgotten. Rounding moves an input by at most half a step.
    No output changes faster than by `uploads` per radian of one input, because the
    parameter-shift rule bounds each derivative. So the error is at most
    `n_inputs * uploads * step / 2`.

    Args:
        step: radians; 0 finds only exactly equal rows again.
        entries: number of rows to remember.
    """

    def __init__(self, inner: Executor, circuit: Circuit, step: float, entries: int) -> None:
        self._inner, self._step, self._entries = inner, step, entries
        self._known: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._lookups = self._hits = 0
        self.error_bound = min(2.0, circuit.n_inputs * circuit.uploads * step / 2)

    @property
    def hit_rate(self) -> float:
        """Return the share of rows that were not run."""
        return self._hits / self._lookups if self._lookups else 0.0

    def __call__(self, angles: FloatArray) -> FloatArray:
        rounded = np.round(angles / self._step) * self._step if self._step else angles
        rounded = rounded + 0.0  # -0 and 0 are one key
        keys = [row.tobytes() for row in rounded]
        missing = {key: i for i, key in enumerate(keys) if key not in self._known}
        if missing:
            values = self._inner(rounded[list(missing.values())])
            self._known.update(zip(missing, values, strict=True))
        self._lookups += len(keys)
        self._hits += len(keys) - len(missing)
        for key in keys:
            self._known.move_to_end(key)
        result = np.stack([self._known[key] for key in keys])
        while len(self._known) > self._entries:
            self._known.popitem(last=False)
        return result

    def describe(self) -> dict[str, Any]:
        memo = {
            "step_rad": self._step,
            "entries": self._entries,
            "lookups": self._lookups,
            "hit_rate": round(self.hit_rate, 4),
            "error_bound": self.error_bound,
        }
        return {**self._inner.describe(), "memo": memo}

    def close(self) -> None:
        self._inner.close()


def _start_worker() -> None:
    """Allow one thread, before PennyLane is imported, because each core has its own process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the process
