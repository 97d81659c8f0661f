import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.quantum.circuits import make_vqc
from qlumen.quantum.layer import QuantumLayer, entangling_unitary
from qlumen.quantum.surrogate import array_sha256, run_circuit, sample_surrogate

SIZES = st.tuples(st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**31))


@given(SIZES)
@settings(max_examples=15)
def test_layer_equals_the_circuit_run_by_pennylane(case: tuple[int, int, int]) -> None:
    """The contracted table gives what `default.qubit` gives, for any size and weights."""
    n, layers, seed = case
    circuit = make_vqc(n, layers)
    torch.manual_seed(seed)
    layer = QuantumLayer(circuit)
    angles = np.random.default_rng(seed).uniform(-4, 4, (5, n))
    weights = layer.weights.detach().double().numpy()
    live = run_circuit(circuit, weights, angles, "default.qubit")
    ours = layer(torch.from_numpy(angles)).detach().numpy()
    np.testing.assert_allclose(ours, live, atol=1e-12)


@given(SIZES)
@settings(max_examples=8)
def test_sampled_table_equals_lightning_everywhere(case: tuple[int, int, int]) -> None:
    """A table solved from 3^n samples predicts the circuit at angles it never saw."""
    n, layers, seed = case
    rng = np.random.default_rng(seed)
    circuit = make_vqc(min(n, 4), layers)
    weights = rng.uniform(0, 2 * np.pi, circuit.weight_shape)
    surrogate = sample_surrogate(circuit, weights)
    assert surrogate.circuit_runs == 3**circuit.n_inputs
    angles = rng.uniform(-4, 4, (10, circuit.n_inputs))
    live = run_circuit(circuit, weights, angles, "lightning.qubit")
    np.testing.assert_allclose(surrogate(angles), live, atol=1e-10)


@pytest.mark.parametrize(("n", "layers"), [(2, 1), (3, 4), (4, 2)])
def test_unitary_is_that_of_the_pennylane_template(n: int, layers: int) -> None:
    """Rotations, order and reach of the CNOTs are those of StronglyEntanglingLayers."""
    weights = np.random.default_rng(n).uniform(0, 2 * np.pi, (layers, n, 3))
    template = qml.matrix(qml.StronglyEntanglingLayers(weights, wires=range(n)), range(n))
    ours = entangling_unitary(torch.from_numpy(weights), n).numpy()
    np.testing.assert_allclose(ours, template, atol=1e-12)


def test_gradients_are_those_of_the_simulated_circuit() -> None:
    """Angles and weights receive the gradients that PennyLane's backprop gives."""
    circuit = make_vqc(3, 2)
    layer = QuantumLayer(circuit).double()
    angles = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    layer(angles).pow(2).sum().backward()
    node = qml.QNode(circuit.function, qml.device("default.qubit"), interface="torch")
    theirs_x = angles.detach().clone().requires_grad_()
    theirs_w = layer.weights.detach().clone().requires_grad_()
    sum(torch.stack(list(node(row, theirs_w))).pow(2).sum() for row in theirs_x).backward()
    torch.testing.assert_close(angles.grad, theirs_x.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close(layer.weights.grad, theirs_w.grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("qubits", "layers"), [(1, 1), (9, 1), (4, 0)])
def test_sizes_out_of_bounds_are_refused(qubits: int, layers: int) -> None:
    """A circuit that cannot be built says which sizes can."""
    with pytest.raises(ValueError, match=r"2 to 8 qubits|at least one layer"):
        make_vqc(qubits, layers)


def test_hash_tells_values_and_shape_apart() -> None:
    """Two tables share a hash only if they are equal."""
    a = np.arange(6.0)
    assert array_sha256(a) == array_sha256(a.copy())
    assert array_sha256(a) != array_sha256(a.reshape(2, 3))
    assert array_sha256(a) != array_sha256(np.nextafter(a, 9))
