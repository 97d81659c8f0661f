"""Runs circuits on PennyLane's devices, with optional shots and noise.

`lightning.gpu` takes the same path as `lightning.qubit`; only the name differs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import CircuitError, MissingExtraError
from qlumen.quantum.circuits import Circuit

FloatArray = NDArray[np.float64]

DEVICES = ("lightning.qubit", "lightning.gpu", "default.qubit", "default.mixed")
BROADCASTING = ("default.qubit", "default.mixed")
"""Devices that run a circuit for many inputs in one run."""
EXTRAS = {"lightning.gpu": "qlumen[gpu]"}
MAX_MIXED_QUBITS = 10
"""A density matrix of 10 qubits takes 16 MiB; each further qubit takes four times as much."""
MAX_AMPLITUDES = 1 << 22
"""Amplitudes of one broadcast run: 64 MiB of states."""
GATES = {"RX", "RY", "RZ", "Rot", "CNOT", "IsingXX", "IsingYY", "IsingZZ"}


@dataclass(frozen=True, slots=True)
class Device:
    """Describes the device that runs a circuit.

    Attributes:
        name: PennyLane's name, one of `DEVICES`.
        shots: measurements per circuit and input; None for exact expectation values.
        depolarizing: probability of a depolarising error on each qubit of a gate, after it.
        readout_error: probability that a read-out is inverted.
        seed: seed of the shots; None draws one.
    """

    name: str = "lightning.qubit"
    shots: int | None = None
    depolarizing: float = 0.0
    readout_error: float = 0.0
    seed: int | None = None

    def check(self, circuit: Circuit) -> None:
        """Check, before any work, that the device exists and takes `circuit`.

        Raises:
            MissingExtraError: its package is not installed, or finds no hardware.
            CircuitError: the device is unknown, has no noise, or is too small for the circuit.
        """
        if self.name not in DEVICES:
            raise CircuitError(f"device {self.name!r} is unknown; use one of: {', '.join(DEVICES)}")
        if self.noisy and self.name != "default.mixed":
            raise CircuitError(f"{self.name} simulates no noise; use default.mixed for it")
        if self.name == "default.mixed" and circuit.n_qubits > MAX_MIXED_QUBITS:
            raise CircuitError(
                f"the density matrix of {circuit.name} has 4^{circuit.n_qubits} entries; "
                f"default.mixed takes at most {MAX_MIXED_QUBITS} qubits here: study noise on a "
                "vqc, or run lightning.qubit without noise"
            )
        self._open(circuit.n_qubits)

    def run(self, circuit: Circuit, weights: FloatArray, angles: FloatArray) -> FloatArray:
        """Run the circuit for each row of angles.

        Args:
            weights: trained angles of `circuit.weight_shape`, radians.
            angles: `(rows, n_inputs)`, radians.

        Returns:
            `(rows, n_outputs)` expectation values, or their estimates from the shots.
        """
        import pennylane as qml

        make = qml.tape.make_qscript(circuit.function, shots=self.shots)
        device = self._open(circuit.n_qubits)
        parts = []
        for chunk in self._chunks(circuit, angles):
            inputs = [chunk] if self._broadcasts else chunk
            tapes = [self._with_noise(make(values, weights)) for values in inputs]
            results = qml.execute(tapes, device, diff_method=None)
            values = np.array(results[0]).T if self._broadcasts else np.array(results)
            parts.append(values.reshape(len(chunk), circuit.n_outputs))
        return np.concatenate(parts).astype(np.float64)

    @property
    def noisy(self) -> bool:
        """Check whether gates or read-outs have errors."""
        return self.depolarizing > 0 or self.readout_error > 0

    @property
    def _broadcasts(self) -> bool:
        return self.name in BROADCASTING and self.shots is None

    def _chunks(self, circuit: Circuit, angles: FloatArray) -> list[FloatArray]:
        """Split the rows into runs, because one run of all rows is too large for large circuits."""
        exponent = 2 if self.name == "default.mixed" else 1
        rows = max(1, MAX_AMPLITUDES >> (exponent * circuit.n_qubits))
        return [angles[start : start + rows] for start in range(0, max(1, len(angles)), rows)]

    def _open(self, wires: int) -> Any:
        import pennylane as qml

        seed = {} if self.seed is None else {"seed": self.seed}
        try:
            return qml.device(self.name, wires=wires, **seed)
        except (qml.exceptions.DeviceError, ImportError, ValueError, RuntimeError) as error:
            raise MissingExtraError(
                f"the device {self.name} cannot be opened: {error} It needs "
                f"`pip install {EXTRAS.get(self.name, 'qlumen')}` and its hardware; "
                "quantum.executor=surrogate needs neither"
            ) from error

    def _with_noise(self, tape: Any) -> Any:
        if not self.noisy:
            return tape
        import pennylane as qml

        (plain,), _ = qml.transforms.decompose(tape, gate_set=GATES)
        operations = []
        for operation in plain.operations:
            operations.append(operation)
            operations += [qml.DepolarizingChannel(self.depolarizing, w) for w in operation.wires]
        for wire in plain.wires:  # a bit flip inverts Z, a phase flip inverts X
            operations += [
                qml.BitFlip(self.readout_error, wire),
                qml.PhaseFlip(self.readout_error, wire),
            ]
        return plain.copy(operations=operations)
