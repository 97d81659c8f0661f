"""Writes bundles: converts a trained torch network to a folder that runs without torch."""

import datetime
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from qlumen.networks.bundle import (
    FORMAT,
    MODEL,
    TABLES,
    WEIGHTS,
    Bundle,
    InputSpec,
    Manifest,
    QuantumRecord,
    Thresholds,
    check_replaceable,
    write_manifest,
)
from qlumen.networks.circuit import CHECK_INPUTS, READABLE, describe_surrogate, write_tables
from qlumen.networks.encoder import MEAN, STD
from qlumen.networks.graph import TABLES as TABLE_NAMES
from qlumen.networks.graph import name_circuit
from qlumen.networks.openvino import ops, ov
from qlumen.networks.trained import HALF_ABOVE_ELEMENTS, Deployed, load_network
from qlumen.networks.unet import UNet
from qlumen.quantum.circuits import MAX_QUBITS
from qlumen.quantum.layer import QuantumLayer
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import FloatArray, Surrogate, sample_surrogate

LIBRARIES = ("qlumen", "torch", "openvino", "pennylane", "pennylane-lightning", "numpy")
"""Libraries whose versions are in a bundle's provenance."""
FEW_CHECK_INPUTS = 50
"""Inputs that check the tables of many qubits, where live execution takes long."""


def write_bundle(
    folder: Path,
    network: UNet,
    *,
    name: str,
    version: str,
    size: int,
    thresholds: Thresholds,
    provenance: Mapping[str, Any],
) -> Bundle:
    """Store `network` for square inputs of `size` pixels, with tables in place of its circuit.

    The weights are rounded to half precision before the network is compiled. The metrics stay
    empty, and there is no card yet.

    Args:
        provenance: origin of the weights, for the manifest's `provenance`.

    Raises:
        BundleError: `folder` holds something that is not a bundle.
    """
    empty(folder)
    save_file(_round(network), folder / WEIGHTS)
    (folder / WEIGHTS).chmod(READABLE)
    stored = load_network(folder / WEIGHTS, network.config)
    frozen = _freeze_circuit(stored)
    tables = frozen[0].tables if frozen else ()
    write_model(folder / MODEL, Deployed(stored).eval(), size, tables)
    if frozen:
        write_tables(folder / TABLES, frozen[0], frozen[1].key)
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=version,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        network=asdict(network.config),
        input=InputSpec(width=size, height=size, fit="stretch", mean=MEAN, std=STD),
        thresholds=thresholds,
        quantum=frozen[1] if frozen else None,
        provenance={
            **provenance,
            "libraries": {name: metadata.version(name) for name in LIBRARIES},
        },
        metrics={},
        files={},
    )
    return write_manifest(folder, manifest)


def empty(folder: Path) -> None:
    """Create or empty `folder`; raise BundleError if it holds something that is no bundle."""
    check_replaceable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()


def write_model(path: Path, network: nn.Module, size: int, tables: Sequence[FloatArray]) -> None:
    """Compile a `Deployed` network with circuit `tables` for inputs of `size` x `size` pixels."""
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about shapes that become constants, as they must
        # OpenVINO would trace twice, to compare. One trace here takes half of the time.
        traced = torch.jit.trace(network, example, strict=False, check_trace=False)
        model = ov.convert_model(traced, example_input=example, input=[1, size, size, 3])
    if tables:
        name_circuit(model, tables)
    _store_large_constants_in_half(model)
    ov.save_model(model, path, compress_to_fp16=False)


def _round(network: UNet) -> dict[str, Tensor]:
    return {
        name: value.half() if value.numel() > HALF_ABOVE_ELEMENTS else value
        for name, value in network.state_dict().items()
    }


def _freeze_circuit(network: UNet) -> tuple[Surrogate, QuantumRecord] | None:
    """Replace the bottleneck's circuit by its tables, and return them with their errors."""
    bottleneck = network.bottleneck
    if not isinstance(bottleneck.core, QuantumLayer):
        return None
    weights = bottleneck.core.weights.detach().double().numpy()
    surrogate = sample_surrogate(bottleneck.core.circuit, weights)
    bottleneck.core = freeze(surrogate)
    inputs = CHECK_INPUTS if surrogate.circuit.n_qubits <= MAX_QUBITS else FEW_CHECK_INPUTS
    return surrogate, describe_surrogate(surrogate, weights, inputs)


def _store_large_constants_in_half(model: ov.Model) -> None:
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        if node.get_friendly_name().startswith(TABLE_NAMES):
            continue
        values = node.get_data()
        if values.size <= HALF_ABOVE_ELEMENTS:
            continue
        users = node.output(0).get_target_inputs()
        widened = ops.convert(ops.constant(values.astype(np.float16)), "f32")
        for user in users:
            user.replace_source_output(widened.output(0))
