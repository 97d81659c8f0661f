"""Builds the torch form of a bundle: its circuit as tables, its precision in the graph.

Engines that compile torch networks use it. The compiled form in the bundle runs without it.
"""

import shutil
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from qlumen.errors import BundleError
from qlumen.networks.bottlenecks import GridBottleneck
from qlumen.networks.bundle import (
    MODEL,
    RESIZED_FROM,
    TABLES,
    WEIGHTS,
    Bundle,
    Precision,
    write_manifest,
)
from qlumen.networks.circuit import read_circuit
from qlumen.networks.encoder import Encoder
from qlumen.networks.trained import HALF_ABOVE_ELEMENTS, Deployed, load_network, network_config
from qlumen.networks.unet import UNet, check_input_size
from qlumen.quantum.devices import Device
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import FloatArray, Surrogate

DTYPES: dict[Precision, torch.dtype] = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
}


class Clamp(nn.Module):
    """Computes ReLU6 by `clamp`: exporters convert a half-precision `hardtanh` to single precision
    and back, which separates it from its convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, 0, 6)


class SinglePrecision(nn.Module):
    """Computes `inner` in single precision inside a network of any precision."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.float()).to(x.dtype)


def deploy_network(bundle: Bundle, precision: Precision = "f32") -> nn.Module:
    """Build the `Deployed` network of a bundle, in evaluation mode.

    Convolutions, with batch norms folded into them, compute in `precision`. The circuit's tables
    and the sigmoid always compute in single precision.

    Raises:
        BundleError: the bundle holds no torch weights, or weights that do not fit its manifest.
    """
    network = _build_trained(bundle)
    dtype = DTYPES[precision]
    _simplify(network)
    if isinstance(network.bottleneck, GridBottleneck):
        spec = bundle.manifest.input
        network.bottleneck.fix_size(spec.height // Encoder.stride, spec.width // Encoder.stride)
    network.to(dtype)
    if bundle.manifest.quantum is not None:
        core = freeze(read_surrogate(bundle))
        network.bottleneck.core = core if dtype == torch.float32 else SinglePrecision(core)
    return Deployed(network, dtype).eval().requires_grad_(False)


def export_program(
    network: nn.Module, size: tuple[int, int], device: torch.device | None = None
) -> torch.export.ExportedProgram:
    """Export a network of `deploy_network` as a graph of one static shape.

    Args:
        size: width and height of the input in pixels.
        device: device of `network`; None for the CPU.
    """
    width, height = size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=device)
    return torch.export.export(network, (example,), strict=False)


def read_surrogate(bundle: Bundle) -> Surrogate:
    """Return the tables of a bundle with its circuit; raise BundleError if it has none."""
    circuit = read_circuit(bundle).circuit
    record = bundle.manifest.quantum
    if record is None:
        raise BundleError(f"{bundle.folder} holds no circuit")
    with safe_open(bundle.folder / TABLES, framework="numpy") as file:
        tables = tuple(file.get_tensor(f"table.{i}") for i in range(len(record.table_shapes)))
    return Surrogate(
        circuit,
        tables,
        record.circuit_runs,
        Device(record.device, record.shots),
        record.standard_error,
    )


def resize_bundle(source: Bundle, folder: Path, side: int) -> Bundle:
    """Write the network of `source` to `folder`, for square inputs of `side` pixels.

    Thresholds and provenance are copied. Metrics and 8-bit ranges are not, because they were
    measured at another size. There is no card yet.

    Raises:
        BundleError: `source` is an INT8 bundle, or `folder` holds something that is no bundle.
        ValueError: `side` is no multiple of the encoder's stride.
    """
    from qlumen.networks.export import empty, write_model

    check_input_size(side, side)
    network = load_network(source.weights, network_config(source.manifest.network))
    empty(folder)
    shutil.copyfile(source.weights, folder / WEIGHTS)
    tables: tuple[FloatArray, ...] = ()
    if source.manifest.quantum:
        surrogate = read_surrogate(source)
        network.bottleneck.core, tables = freeze(surrogate), surrogate.tables
        shutil.copyfile(source.folder / TABLES, folder / TABLES)
    write_model(folder / MODEL, Deployed(network).eval(), side, tables)
    manifest = source.manifest
    changed = {
        "name": f"{manifest.name}-{side}",
        "input": manifest.input.model_copy(update={"width": side, "height": side}),
        "provenance": manifest.provenance | {RESIZED_FROM: source.sha256},
        "metrics": {},
        "alarms": {},
        "ranges": None,
    }
    return write_manifest(folder, manifest.model_copy(update=changed))


def _build_trained(bundle: Bundle) -> UNet:
    try:
        return load_network(bundle.weights, network_config(bundle.manifest.network))
    except (RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleError(
            f"{bundle.folder} holds weights that do not fit the network in its manifest "
            f"({reason}); run it with engine.name=openvino, or export it again"
        ) from None


def _simplify(network: nn.Module) -> None:
    """Fold batch norms into the convolutions before them, and replace ReLU6 by `Clamp`.

    The folded weights are rounded like those of the compiled form, so that all engines compute
    one network. Another rounding can lose a finding that just reaches its threshold.
    """
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i, (first, second) in enumerate(pairwise(list(module))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                folded = fuse_conv_bn_eval(first, second)
                if folded.weight.numel() > HALF_ABOVE_ELEMENTS:
                    folded.weight.data = folded.weight.data.half().float()
                module[i], module[i + 1] = folded, nn.Identity()
            if isinstance(second, nn.ReLU6):
                module[i + 1] = Clamp()
