"""Measures the cost of the quantum bottleneck: for a 352x352 frame, and for a training step.

A frame has 11x11 positions, so 121 runs of a `vqc`, or one run of `hqconv`. The surrogate is
timed as OpenVINO compiles it for the network, in single precision on one thread, and in numpy.
All contestants are first checked against each other. Weights are random: they do not change the
time. Ratios use the fastest calls: a busy machine interrupts the long calls of a simulator most,
so medians would favour the surrogate. OMP_NUM_THREADS=1 helps Lightning on a busy machine.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pennylane as qml
import torch
from numpy.typing import NDArray

from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Thresholds
from qlumen.networks.export import write_bundle
from qlumen.networks.openvino import ov
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device
from qlumen.quantum.layer import METHODS, QuantumLayer
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import sample_surrogate
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine
from qlumen.training.losses import bce_dice

from support.common import Row, interleaved_ms, parser, report

Array = NDArray[np.float64]
Contestants = dict[str, Callable[[], Array]]

SIZE = 352
POSITIONS = (SIZE // 32) ** 2
TRAIN_SIZE = 256
BATCH = 12
GROWTH = ((2, 2), (4, 1), (4, 2), (4, 4), (6, 2), (8, 2))
TOLERANCE = 1e-5
LIVE_ROWS = 1
"""Positions of a step on which `adjoint` and `parameter-shift` are timed; the result is scaled."""
QUICK = ("surrogate", "surrogate numpy")
QUICK_ROUNDS = 30
"""Rounds of the contestants that take microseconds, for each round of the others."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="calls of each function")
    options = arguments.parse_args()
    torch.manual_seed(0)
    rows: list[Row] = []
    vqc = frame_times("vqc4", make_vqc(4, 2), POSITIONS, options.rounds, rows)
    grid = frame_times("hqconv", make_hqconv(1), 1, options.rounds, rows)
    growth(options.rounds, rows)
    engine = engine_times(options.rounds, rows)
    step = step_times(rows)
    ratios = {
        "lightning_qubit_over_surrogate_vqc4": vqc["lightning.qubit"] / vqc["surrogate"],
        "lightning_qubit_over_surrogate_hqconv": grid["lightning.qubit"] / grid["surrogate"],
        "surrogate_share_of_engine": engine["circuit"] / engine["engine"],
        "layer_share_of_step": step["backprop"] / step["step"],
        "adjoint_over_step": step["adjoint"] / step["step"],
        "parameter_shift_over_step": step["parameter-shift"] / step["step"],
    }
    report(rows, ratios, options.json)


def frame_times(
    name: str, circuit: Circuit, positions: int, rounds: int, rows: list[Row]
) -> dict[str, float]:
    """Return the least milliseconds a frame of all contestants that compute the circuit."""
    weights, angles = random_case(circuit, positions)
    contestants = frame_contestants(circuit, weights, angles)
    check_agreement(contestants)
    quick = {key: run for key, run in contestants.items() if key in QUICK}
    slow = {key: run for key, run in contestants.items() if key not in QUICK}
    times = interleaved_ms(quick, QUICK_ROUNDS * rounds) | interleaved_ms(slow, rounds)
    for contestant, ms in times.items():
        rows.append({"name": f"{name} {contestant}", "ms_p50": median(ms), "ms_min": min(ms)})
    return {contestant: min(ms) for contestant, ms in times.items()}


def frame_contestants(circuit: Circuit, weights: Array, angles: Array) -> Contestants:
    surrogate = sample_surrogate(circuit, weights)
    compiled = compile_surrogate(freeze(surrogate), angles)
    lightning = qnode_loop(circuit, weights, angles)
    broadcast = Device("default.qubit")
    layer = torch_layer(circuit, weights)
    inputs = torch.from_numpy(angles)
    return {
        "surrogate": compiled,
        "surrogate numpy": lambda: surrogate(angles),
        "lightning.qubit": lightning,
        "lightning.qubit, batched tapes": lambda: Device().run(circuit, weights, angles),
        "default.qubit broadcast": lambda: broadcast.run(circuit, weights, angles),
        "TorchLayer": lambda: layer(inputs).detach().numpy(),
    }


def compile_surrogate(module: torch.nn.Module, angles: Array) -> Callable[[], Array]:
    single = angles.astype(np.float32)
    example = torch.from_numpy(single)
    model = ov.convert_model(module, example_input=example, input=list(single.shape))
    request = ov.compile_model(
        model, "CPU", CpuOptions(threads=1).properties()
    ).create_infer_request()
    request.set_input_tensor(ov.Tensor(single))

    def run() -> Array:
        request.infer()
        values: Array = request.get_output_tensor(0).data
        return values

    return run


def qnode_loop(circuit: Circuit, weights: Array, angles: Array) -> Callable[[], Array]:
    """Return the circuit as users of PennyLane call it, once for each position."""
    device = qml.device("lightning.qubit", wires=circuit.n_qubits)
    node = qml.QNode(circuit.function, device, diff_method=None)
    return lambda: np.array([node(row, weights) for row in angles])


def torch_layer(circuit: Circuit, weights: Array) -> torch.nn.Module:
    def function(inputs: torch.Tensor, weights: torch.Tensor) -> Sequence[object]:
        return circuit.function(inputs, weights)

    node = qml.QNode(function, qml.device("default.qubit", wires=circuit.n_qubits))
    layer = qml.qnn.TorchLayer(node, {"weights": circuit.weight_shape}).double()
    with torch.no_grad():
        layer.weights.copy_(torch.from_numpy(weights))
    return layer


def check_agreement(contestants: Contestants) -> None:
    results = {name: np.array(run()) for name, run in contestants.items()}
    reference = results["lightning.qubit"]
    for name, result in results.items():
        error = np.abs(result.reshape(reference.shape) - reference).max()
        if error > TOLERANCE:
            raise SystemExit(f"{name} differs from lightning.qubit by {error:.1e}")


def growth(rounds: int, rows: list[Row]) -> None:
    """Measure the compiled surrogate and its table for more qubits and layers."""
    runs: Contestants = {}
    sizes = {}
    for qubits, layers in GROWTH:
        circuit = make_vqc(qubits, layers)
        weights, angles = random_case(circuit, POSITIONS)
        surrogate = sample_surrogate(circuit, weights, Device("default.qubit"))
        runs[f"surrogate n={qubits} L={layers}"] = compile_surrogate(freeze(surrogate), angles)
        sizes[f"surrogate n={qubits} L={layers}"] = surrogate.tables[0].size
    for name, ms in interleaved_ms(runs, QUICK_ROUNDS * rounds).items():
        rows.append({"name": name, "ms_p50": median(ms), "table_size": sizes[name]})


def engine_times(rounds: int, rows: list[Row]) -> dict[str, float]:
    """Measure the whole engine on a frame, and the circuit's tables alone, compiled alike."""
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    circuit = make_vqc(4, 2)
    weights, angles = random_case(circuit, POSITIONS)
    alone = compile_surrogate(freeze(sample_surrogate(circuit, weights)), angles)
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    with TemporaryDirectory() as folder:
        bundle = write_bundle(
            Path(folder), UNet().eval(), name="bench", version="0", size=SIZE,
            thresholds=thresholds, provenance={},
        )  # fmt: skip
        with OpenVinoEngine(bundle.model) as engine:
            runs = {"engine": lambda: engine.infer(image), "circuit": alone}
            times = interleaved_ms(runs, 3 * rounds)
    for name, ms in times.items():
        rows.append({"name": f"{SIZE}x{SIZE} {name}", "ms_p50": median(ms), "ms_min": min(ms)})
    return {name: min(ms) for name, ms in times.items()}


def step_times(rows: list[Row], rounds: int = 3) -> dict[str, float]:
    """Measure a training step, and the layer's part, forward and backward, for each method."""
    network = UNet(NetworkConfig(bottleneck=BottleneckConfig("vqc")))
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randn(BATCH, 3, TRAIN_SIZE, TRAIN_SIZE)
    masks = torch.zeros(BATCH, 1, TRAIN_SIZE, TRAIN_SIZE)
    positions = BATCH * (TRAIN_SIZE // 32) ** 2

    def step() -> None:
        optimizer.zero_grad()
        bce_dice(network(images), masks).backward()
        optimizer.step()

    times = interleaved_ms({"step": step, "backprop": layer_step("backprop", positions)}, rounds)
    result = {name: min(ms) for name, ms in times.items()}
    for method in METHODS[1:]:
        ms = interleaved_ms({method: layer_step(method, LIVE_ROWS)}, rounds)[method]
        result[method] = min(ms) * positions / LIVE_ROWS
    for name, value in result.items():
        rows.append({"name": f"training step, {name}", "ms_min": value})
    return result


def layer_step(method: str, positions: int) -> Callable[[], None]:
    circuit = make_vqc(4, 2)
    layer = QuantumLayer(circuit, method)
    angles = torch.randn(positions, circuit.n_inputs, requires_grad=True)
    return lambda: layer(angles).sum().backward()


def random_case(circuit: Circuit, rows: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 2 * np.pi, circuit.weight_shape)
    return weights, rng.uniform(-np.pi, np.pi, (rows, circuit.n_inputs))


if __name__ == "__main__":
    main()
