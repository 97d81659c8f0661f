from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qlumen.errors import CircuitError
from qlumen.networks.openvino import ov
from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import Surrogate, cache_key, sample_surrogate, table_shapes

from support import naive_quantum as naive
from support.strategies_quantum import SEEDS, angles, hqconvs, vqcs, weights

EXACT = 1e-10
SINGLE = 1e-5
few = settings(max_examples=15, deadline=None)


def make_surrogate(circuit: Circuit, seed: int) -> Surrogate:
    return sample_surrogate(circuit, weights(circuit, seed), Device("default.qubit"))


@few
@given(vqcs(), SEEDS)
def test_vqc_table_equals_dense_matrices(circuit: Circuit, seed: int) -> None:
    """The table gives the same as a product of all gates as dense matrices."""
    x, w = angles(circuit, 3, seed), weights(circuit, seed)
    expected = [naive.vqc(row, w, circuit.uploads > 1) for row in x]
    np.testing.assert_allclose(make_surrogate(circuit, seed)(x), expected, atol=EXACT)


@few
@given(hqconvs(), SEEDS)
def test_hqconv_tables_equal_dense_matrices(circuit: Circuit, seed: int) -> None:
    """The row and column tables together give the same as the matrices of the whole grid."""
    x, w = angles(circuit, 2, seed), weights(circuit, seed)
    expected = [naive.hqconv(row, w, 2) for row in x]
    np.testing.assert_allclose(make_surrogate(circuit, seed)(x), expected, atol=EXACT)


def test_hqconv_of_nine_qubits_equals_dense_matrices() -> None:
    """The factoring also holds where a line has a qubit between its ends."""
    circuit = make_hqconv(1, side=3)
    x, w = angles(circuit, 1, 0), weights(circuit, 0)
    expected = naive.hqconv(x[0], w, 3)
    np.testing.assert_allclose(make_surrogate(circuit, 0)(x)[0], expected, atol=EXACT)


@few
@given(st.one_of(vqcs(largest=5), hqconvs(largest=3)), SEEDS)
def test_tables_equal_lightning(circuit: Circuit, seed: int) -> None:
    """A table sampled on one device gives the live outputs of another device."""
    x, w = angles(circuit, 3, seed), weights(circuit, seed)
    live = Device("lightning.qubit").run(circuit, w, x)
    np.testing.assert_allclose(make_surrogate(circuit, seed)(x), live, atol=EXACT)


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 2), SEEDS)
def test_hqconv_of_sixteen_qubits_equals_lightning(layers: int, seed: int) -> None:
    """The tables of the network's own grid equal a simulation of the whole grid."""
    circuit = make_hqconv(layers)
    x, w = angles(circuit, 2, seed), weights(circuit, seed)
    live = Device("lightning.qubit").run(circuit, w, x)
    np.testing.assert_allclose(make_surrogate(circuit, seed)(x), live, atol=EXACT)


@settings(max_examples=6, deadline=None)
@given(st.one_of(vqcs(largest=6), st.builds(make_hqconv, st.integers(1, 2))), SEEDS)
@example(make_vqc(8, 2), 0)
def test_compiled_module_equals_lightning(circuit: Circuit, seed: int) -> None:
    """The graph that OpenVINO compiles in single precision stays within 1e-5."""
    x = angles(circuit, 3, seed)
    single = x.astype(np.float32)
    module = freeze(make_surrogate(circuit, seed))
    model = ov.convert_model(module, example_input=torch.from_numpy(single), input=list(x.shape))
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.output(0).partial_shape.is_static
    live = Device("lightning.qubit").run(circuit, weights(circuit, seed), x)
    np.testing.assert_allclose(compiled(single)[0], live, atol=SINGLE)


@pytest.mark.parametrize("circuit", [make_vqc(3, 2, True), make_hqconv(1)], ids=["vqc", "hqconv"])
def test_module_exports_to_torch_and_onnx(circuit: Circuit, tmp_path: Path) -> None:
    """The module exports to `torch.export` and ONNX, which compute the same."""
    surrogate = make_surrogate(circuit, 0)
    module, x = freeze(surrogate), angles(circuit, 5, 0)
    example = torch.from_numpy(x).float()
    exported = torch.export.export(module, (example,)).module()
    np.testing.assert_allclose(exported(example).numpy(), surrogate(x), atol=SINGLE)
    path = tmp_path / "module.onnx"
    torch.onnx.export(module, (example,), path, dynamo=True, verbose=False)
    compiled = ov.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(example.numpy())[0], surrogate(x), atol=SINGLE)


def test_number_of_runs_is_the_number_of_coefficients() -> None:
    """Four qubits need 81 runs; the grid needs 256 for a row and 256 for a column."""
    assert make_surrogate(make_vqc(4, 2), 0).circuit_runs == 81
    assert make_surrogate(make_vqc(2, 2, True), 0).circuit_runs == 25
    grid = make_surrogate(make_hqconv(1), 0)
    assert grid.circuit_runs == 512
    assert [table.shape for table in grid.tables] == [(256, 12), (256, 8)]


def test_too_large_a_table_is_refused() -> None:
    """The message gives the table's size and an executor that needs no table."""
    with pytest.raises(CircuitError, match=r"390625 rows x 8 .* MB.*executor=lightning.qubit"):
        sample_surrogate(make_vqc(8, 2, True), np.zeros((2, 8, 3)))


def test_noise_has_an_exact_table() -> None:
    """A noisy vqc has an exact table; a noisy grid is refused, as its noise would count twice."""
    noisy = Device("default.mixed", depolarizing=0.05, readout_error=0.02)
    circuit = make_vqc(2, 2)
    x, w = angles(circuit, 5, 0), weights(circuit, 0)
    live = noisy.run(circuit, w, x)
    np.testing.assert_allclose(sample_surrogate(circuit, w, noisy)(x), live, atol=EXACT)
    with pytest.raises(CircuitError, match="count twice"):
        sample_surrogate(make_hqconv(1, 2), np.zeros((2, 1, 15)), noisy)


def test_every_plain_vqc_fits() -> None:
    """The largest table, of 3^8 rows, is within the bound."""
    assert table_shapes(make_vqc(8, 2)) == ((6561, 8),)


@pytest.mark.parametrize("circuit", [make_vqc(3, 2), make_hqconv(1, 2)], ids=["vqc", "hqconv"])
def test_standard_error_is_the_error_seen(circuit: Circuit) -> None:
    """The deviation from exact values, over several samplings with shots, is as estimated."""
    w, x = weights(circuit, 0), angles(circuit, 100, 3)
    exact = Device("default.qubit").run(circuit, w, x)
    drawn = [sample_surrogate(circuit, w, Device(shots=400, seed=seed)) for seed in range(8)]
    seen = np.sqrt(np.mean([(surrogate(x) - exact) ** 2 for surrogate in drawn]))
    estimated = np.mean([surrogate.standard_error for surrogate in drawn])
    assert 0.7 < seen / estimated < 1.4


def test_without_shots_there_is_no_error() -> None:
    """Exact expectation values leave nothing to estimate."""
    assert make_surrogate(make_vqc(2, 1), 0).standard_error == 0


def test_key_changes_with_all_it_depends_on() -> None:
    """Another circuit, re-uploading, weights, device or shots give another key."""
    circuit, w = make_vqc(3, 2), np.zeros((2, 3, 3))
    keys = {
        cache_key(circuit, w, Device()),
        cache_key(make_vqc(3, 2, True), w, Device()),
        cache_key(circuit, w + 1, Device()),
        cache_key(circuit, w, Device("default.qubit")),
        cache_key(circuit, w, Device(shots=100)),
    }
    assert len(keys) == 5
