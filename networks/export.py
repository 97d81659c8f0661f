"""Writing bundles: from a trained torch network to a folder that runs without torch."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as ops
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qlumen.networks.bottlenecks import BottleneckConfig, GatedBottleneck
from qlumen.networks.bundle import (
    FORMAT,
    MODEL,
    WEIGHTS,
    Bundle,
    InputSpec,
    Manifest,
    QuantumRecord,
    Thresholds,
    check_replaceable,
    write_manifest,
)
from qlumen.networks.preprocessing import MEAN, STD
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.layer import QuantumLayer, trigonometric_products
from qlumen.quantum.surrogate import Surrogate, array_sha256, run_circuit, sample_surrogate

HALF_ABOVE_ELEMENTS = 4096
"""Constants of the compiled form larger than this are stored in half precision: the
convolutions' weights, but not biases nor the circuit's table."""
READABLE = 0o644
PARITY_INPUTS = 1000
PARITY_SEED = 0


class FrozenCircuit(nn.Module):
    """A surrogate's table as a module: `(rows, n)` angles to `(rows, n_outputs)`."""

    table: Tensor

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(surrogate.table).float())

    def forward(self, angles: Tensor) -> Tensor:
        return trigonometric_products(angles) @ self.table


class Deployed(nn.Module):
    """`(1, H, W, 3) uint8` BGR to probabilities `(1, 1, H/2, W/2) float32`."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        rgb = image.permute(0, 3, 1, 2).float().flip(1)
        return torch.sigmoid(self.network((rgb - MEAN) / STD))


def write_bundle(
    folder: Path,
    network: UNet,
    *,
    name: str,
    version: str,
    size: int,
    thresholds: Thresholds,
    papers: Mapping[str, Any],
) -> Bundle:
    """Store `network` for square inputs of `size` px, with its circuit replaced by the table.

    The weights are rounded to half precision before the compiled form is made of them.
    Metrics are left empty, and there is no card yet.

    Args:
        papers: where the weights come from, for the manifest's `provenance`.

    Raises:
        BundleError: `folder` holds something that is not a bundle.
    """
    _emptied(folder)
    save_file(_rounded(network), folder / WEIGHTS)
    (folder / WEIGHTS).chmod(READABLE)
    stored = load_network(folder / WEIGHTS, network.config)
    record = _freeze_circuit(stored)
    _write_model(folder / MODEL, Deployed(stored).eval(), size)
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=version,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        network=asdict(network.config),
        input=InputSpec(width=size, height=size, fit="stretch", mean=MEAN, std=STD),
        thresholds=thresholds,
        quantum=record,
        provenance={**papers, "libraries": _libraries()},
        metrics={},
        files={},
    )
    return write_manifest(folder, manifest)


def load_network(weights: Path, config: NetworkConfig) -> UNet:
    """The torch network of a bundle, in single precision and evaluation mode."""
    network = UNet(config)
    network.load_state_dict({k: _single(v) for k, v in load_file(weights).items()})
    return network.eval()


def network_config(values: Mapping[str, Any]) -> NetworkConfig:
    """A manifest's `network` record as the configuration it was written from."""
    return NetworkConfig(
        decoder_channels=tuple(values["decoder_channels"]),
        bottleneck=BottleneckConfig(**values["bottleneck"]),
    )


def _emptied(folder: Path) -> None:
    check_replaceable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()


def _rounded(network: UNet) -> dict[str, Tensor]:
    return {
        name: value.half() if value.numel() > HALF_ABOVE_ELEMENTS else value
        for name, value in network.state_dict().items()
    }


def _single(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.float16 else value


def _freeze_circuit(network: UNet) -> QuantumRecord | None:
    """Replace the bottleneck's circuit by its table, and say how well that fits."""
    bottleneck = network.bottleneck
    if not (isinstance(bottleneck, GatedBottleneck) and isinstance(bottleneck.core, QuantumLayer)):
        return None
    circuit = bottleneck.core.circuit
    weights = bottleneck.core.weights.detach().double().numpy()
    surrogate = sample_surrogate(circuit, weights)
    bottleneck.core = FrozenCircuit(surrogate)
    angles = np.random.default_rng(PARITY_SEED).uniform(
        -np.pi, np.pi, (PARITY_INPUTS, circuit.n_inputs)
    )
    live = run_circuit(circuit, weights, angles, surrogate.device)
    rows, columns = surrogate.table.shape
    return QuantumRecord(
        circuit=circuit.name,
        weights_sha256=array_sha256(weights),
        device=surrogate.device,
        circuit_runs=surrogate.circuit_runs,
        table_shape=(rows, columns),
        table_sha256=array_sha256(surrogate.table),
        max_abs_error=float(np.abs(surrogate(angles) - live).max()),
    )


def _write_model(path: Path, network: nn.Module, size: int) -> None:
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    model = ov.convert_model(network, example_input=example, input=[1, size, size, 3])
    _store_large_constants_in_half(model)
    ov.save_model(model, path, compress_to_fp16=False)


def _store_large_constants_in_half(model: ov.Model) -> None:
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        values = node.get_data()
        if values.size <= HALF_ABOVE_ELEMENTS:
            continue
        users = node.output(0).get_target_inputs()
        widened = ops.convert(ops.constant(values.astype(np.float16)), "f32")
        for user in users:
            user.replace_source_output(widened.output(0))


def _libraries() -> dict[str, str]:
    names = ("qlumen", "torch", "openvino", "pennylane", "pennylane-lightning", "numpy")
    return {name: metadata.version(name) for name in names}
