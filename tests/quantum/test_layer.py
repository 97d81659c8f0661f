import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device
from qlumen.quantum.layer import METHODS, QuantumLayer
from qlumen.quantum.surrogate import array_sha256, sample_surrogate
from qlumen.quantum.unitaries import entangling_unitary

from support.strategies_quantum import SEEDS, angles, hqconvs, vqcs, weights


def make_layer(circuit: Circuit, seed: int, method: str = "backprop") -> QuantumLayer:
    layer = QuantumLayer(circuit, method).double()
    with torch.no_grad():
        layer.weights.copy_(torch.from_numpy(weights(circuit, seed)))
    return layer


@settings(max_examples=20, deadline=None)
@given(st.one_of(vqcs(largest=6), hqconvs(largest=3)), SEEDS)
def test_layer_equals_lightning(circuit: Circuit, seed: int) -> None:
    """The layer gives the values of the circuit."""
    x = angles(circuit, 3, seed)
    live = Device().run(circuit, weights(circuit, seed), x)
    out = make_layer(circuit, seed)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(out, live, atol=1e-10)


def test_layer_of_sixteen_qubits_equals_its_surrogate() -> None:
    """The tables contracted in the Pauli basis equal tables sampled on a device."""
    circuit = make_hqconv(2)
    x = angles(circuit, 3, 5)
    surrogate = sample_surrogate(circuit, weights(circuit, 5), Device("default.qubit"))
    out = make_layer(circuit, 5)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(out, surrogate(x), atol=1e-10)


@pytest.mark.parametrize(
    "circuit",
    [make_vqc(2, 1), make_vqc(4, 2), make_vqc(3, 2, True), make_hqconv(1, 2)],
    ids=lambda circuit: circuit.name,
)
def test_gradients_of_three_methods_agree(circuit: Circuit) -> None:
    """Gradients of a random combination, for inputs and weights, agree to 1e-6 in double."""
    x = angles(circuit, 2, 0)
    mix = torch.from_numpy(np.random.default_rng(1).normal(size=(2, circuit.n_outputs)))
    gradients = []
    for method in METHODS:
        layer = make_layer(circuit, 0, method)
        inputs = torch.from_numpy(x).requires_grad_()
        (layer(inputs) * mix).sum().backward()
        gradients.append(torch.cat([inputs.grad.flatten(), layer.weights.grad.flatten()]))
    for other in gradients[1:]:
        np.testing.assert_allclose(gradients[0], other, atol=1e-6)


@pytest.mark.parametrize("circuit", [make_vqc(2, 2), make_vqc(2, 2, True), make_hqconv(1, 2)])
def test_gradients_equal_finite_differences(circuit: Circuit) -> None:
    """Torch's own check of derivatives passes for backprop."""
    layer = make_layer(circuit, 0)
    inputs = torch.from_numpy(angles(circuit, 1, 0)).requires_grad_()
    assert torch.autograd.gradcheck(layer, (inputs,))


@pytest.mark.parametrize("circuit", [make_vqc(3, 2), make_vqc(3, 2, True), make_hqconv(1)])
def test_layer_trains_in_mixed_precision(circuit: Circuit) -> None:
    """In bfloat16 autocast, values stay near those of single precision, and gradients flow."""
    layer = QuantumLayer(circuit)
    x = torch.from_numpy(angles(circuit, 4, 0) / 3).float().bfloat16()
    exact = layer(x.float()).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
        out.float().pow(2).sum().backward()
    assert layer.weights.grad is not None
    assert layer.weights.grad.isfinite().all()
    torch.testing.assert_close(out.float().detach(), exact, atol=0.1, rtol=0)


def test_single_precision_stays_single_precision() -> None:
    """The table is built in double precision and applied in the precision of the inputs."""
    layer = QuantumLayer(make_vqc(4, 2))
    assert layer(torch.zeros(2, 4)).dtype == torch.float32


@pytest.mark.parametrize(("n", "layers"), [(2, 1), (3, 4), (4, 2)])
def test_unitary_is_that_of_the_pennylane_template(n: int, layers: int) -> None:
    """The rotations, the order and the reach of the CNOTs equal StronglyEntanglingLayers."""
    trained = np.random.default_rng(n).uniform(0, 2 * np.pi, (layers, n, 3))
    template = qml.matrix(qml.StronglyEntanglingLayers(trained, wires=range(n)), range(n))
    ours = entangling_unitary(torch.from_numpy(trained), n).numpy()
    np.testing.assert_allclose(ours, template, atol=1e-12)


def test_gradients_are_those_of_the_simulated_circuit() -> None:
    """Angles and weights receive the gradients that PennyLane's backprop gives."""
    circuit = make_vqc(3, 2)
    layer = QuantumLayer(circuit).double()
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    layer(x).pow(2).sum().backward()
    node = qml.QNode(circuit.function, qml.device("default.qubit"), interface="torch")
    theirs_x = x.detach().clone().requires_grad_()
    theirs_w = layer.weights.detach().clone().requires_grad_()
    sum(torch.stack(list(node(row, theirs_w))).pow(2).sum() for row in theirs_x).backward()
    torch.testing.assert_close(x.grad, theirs_x.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close(layer.weights.grad, theirs_w.grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("qubits", "layers"), [(1, 1), (9, 1), (4, 0)])
def test_sizes_out_of_bounds_are_refused(qubits: int, layers: int) -> None:
    """The message gives the sizes that can be built."""
    with pytest.raises(ValueError, match=r"2 to 8 qubits|at least one layer"):
        make_vqc(qubits, layers)


def test_hash_depends_on_values_and_shape() -> None:
    """Two tables share a hash only if they are equal."""
    a = np.arange(6.0)
    assert array_sha256(a) == array_sha256(a.copy())
    assert array_sha256(a) != array_sha256(a.reshape(2, 3))
    assert array_sha256(a) != array_sha256(np.nextafter(a, 9))


def test_unknown_method_is_refused() -> None:
    """The message lists the methods."""
    with pytest.raises(ValueError, match=r"'magic' is unknown; use backprop, adjoint"):
        QuantumLayer(make_vqc(2, 1), "magic")
