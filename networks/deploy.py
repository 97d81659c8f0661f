"""The torch form of a bundle as it is deployed: its circuit as tables, its precision in the graph.

Engines that compile torch networks build on it; nothing here is needed to run the compiled
form that lies in the bundle.
"""

import torch
from safetensors import safe_open
from torch import Tensor, nn

from qlumen.networks.bundle import TABLES, WEIGHTS, Bundle
from qlumen.networks.circuit import read_circuit
from qlumen.networks.export import Deployed, load_network, network_config
from qlumen.networks.precision import Precision
from qlumen.quantum.devices import Device
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import Surrogate
from qlumen.realtime.errors import BundleError

DTYPES: dict[Precision, torch.dtype] = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
}


class SinglePrecision(nn.Module):
    """Computes `inner` in single precision, whatever the network around it computes in."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.float()).to(x.dtype)


def deployed_network(bundle: Bundle, precision: Precision = "f32") -> nn.Module:
    """`(1, H, W, 3) uint8` BGR to probabilities `(1, 1, H/2, W/2) float32`, in evaluation mode.

    The convolutions compute in `precision`, the circuit's tables and the sigmoid always in
    single precision.

    Raises:
        BundleError: the bundle holds no torch weights, as a quantised one, or others than its
            manifest says.
    """
    try:
        network = load_network(bundle.folder / WEIGHTS, network_config(bundle.manifest.network))
    except (RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleError(
            f"{bundle.folder} holds no torch weights of the network that its manifest names "
            f"({reason}); run it with engine.name=openvino, or use the bundle it was made from"
        ) from None
    dtype = DTYPES[precision]
    network.to(dtype)
    if bundle.manifest.quantum is not None:
        core = freeze(stored_surrogate(bundle))
        network.bottleneck.core = core if dtype == torch.float32 else SinglePrecision(core)
    return Deployed(network, dtype).eval().requires_grad_(False)


def exported_program(network: nn.Module, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """`network` of `deployed_network` as a graph of one static shape, width and height in px."""
    width, height = size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    return torch.export.export(network, (example,), strict=False)


def stored_surrogate(bundle: Bundle) -> Surrogate:
    """The tables that a bundle with a circuit holds; BundleError if it has none."""
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
