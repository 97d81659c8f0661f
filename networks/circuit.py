"""Reads a bundle's circuit with its weights, and replaces its tables. Needs no torch."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from qlumen.errors import BundleError
from qlumen.networks.bundle import (
    MODEL,
    MODEL_WEIGHTS,
    TABLES,
    WEIGHTS,
    Bundle,
    QuantumRecord,
    write_manifest,
)
from qlumen.quantum.circuits import Circuit, make_circuit
from qlumen.quantum.devices import Device
from qlumen.quantum.surrogate import Surrogate, array_sha256, cache_key

WEIGHTS_NAME = "bottleneck.core.weights"
CHECK_INPUTS = 1000
CHECK_SEED = 0
READABLE = 0o644


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCircuit:
    """Holds a circuit and its trained `weights`, float64 radians."""

    circuit: Circuit
    weights: NDArray[np.float64]


def read_circuit(bundle: Bundle) -> TrainedCircuit:
    """Return the circuit of a bundle; raise BundleError if its bottleneck has none."""
    if bundle.manifest.quantum is None:
        bottleneck = bundle.manifest.network.get("bottleneck", {"name": "another maker's"})
        raise BundleError(
            f"{bundle.folder} holds no circuit: its bottleneck is {bottleneck['name']}; "
            "use a bundle with vqc or hqconv"
        )
    values = bundle.manifest.network["bottleneck"]
    circuit = make_circuit(
        values["name"], values["qubits"], values["layers"], values["reuploading"]
    )
    with safe_open(bundle.folder / WEIGHTS, framework="numpy") as file:
        weights = file.get_tensor(WEIGHTS_NAME)
    return TrainedCircuit(circuit, weights.astype(np.float64))


def write_tables(path: Path, surrogate: Surrogate, key: str) -> None:
    """Store the tables in double precision as `table.0` and `table.1`, with their key."""
    tables = {f"table.{i}": np.ascontiguousarray(t) for i, t in enumerate(surrogate.tables)}
    save_file(tables, path, metadata={"key": key, "circuit": surrogate.circuit.name})
    path.chmod(READABLE)


def describe_surrogate(
    surrogate: Surrogate, weights: NDArray[np.float64], inputs: int = CHECK_INPUTS
) -> QuantumRecord:
    """Compare tables with live runs of random inputs, on the same device without shots."""
    circuit, device = surrogate.circuit, surrogate.device
    rng = np.random.default_rng(CHECK_SEED)
    angles = rng.uniform(-np.pi, np.pi, (inputs, circuit.n_inputs))
    live = Device(device.name).run(circuit, weights, angles)
    return QuantumRecord(
        circuit=circuit.name,
        weights_sha256=array_sha256(weights),
        key=cache_key(circuit, weights, device),
        device=device.name,
        shots=device.shots,
        circuit_runs=surrogate.circuit_runs,
        table_shapes=tuple((table.shape[0], table.shape[1]) for table in surrogate.tables),
        tables_sha256=tuple(array_sha256(table) for table in surrogate.tables),
        max_abs_error=float(np.abs(surrogate(angles) - live).max()),
        checked_inputs=inputs,
        standard_error=surrogate.standard_error,
    )


def renew_tables(bundle: Bundle, surrogate: Surrogate, record: QuantumRecord) -> Bundle:
    """Put new tables into a bundle: into its table file, its network and its manifest.

    Each file is replaced atomically, the manifest last. A run that stops in between leaves
    a bundle with wrong hashes, which is refused, never one that computes something else.

    Raises:
        BundleError: the network has no named tables.
    """
    from qlumen.networks.graph import replace_tables
    from qlumen.networks.openvino import ov

    folder = bundle.folder
    model = ov.Core().read_model(bundle.model)
    replace_tables(model, surrogate.tables)
    parts = {name: folder / f".part-{name}" for name in (MODEL, MODEL_WEIGHTS, TABLES)}
    ov.save_model(model, parts[MODEL], compress_to_fp16=False)
    write_tables(parts[TABLES], surrogate, record.key)
    _make_newer(parts[MODEL], bundle.model)
    for name, part in parts.items():
        part.replace(folder / name)
    return write_manifest(folder, bundle.manifest.model_copy(update={"quantum": record}))


def _make_newer(path: Path, old: Path) -> None:
    """Date a file at least a second after another.

    OpenVINO's cache of compiled networks compares file times in whole seconds.
    """
    seconds = max(path.stat().st_mtime, old.stat().st_mtime + 1)
    os.utime(path, (seconds, seconds))
