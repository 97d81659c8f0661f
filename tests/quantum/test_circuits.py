import pickle
from collections.abc import Callable

import numpy as np
import pytest

from qlumen.quantum.circuits import make_circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device


def test_hqconv_has_sixteen_qubits_and_thirty_two_outputs() -> None:
    """The sizes are those of the paper: a 4x4 grid, three channels in, two read-outs."""
    circuit = make_circuit("hqconv", qubits=4, layers=1)
    assert (circuit.n_qubits, circuit.n_inputs, circuit.n_outputs) == (16, 48, 32)
    assert circuit.weight_shape == (2, 1, 15)


def test_turned_cell_changes_its_own_outputs() -> None:
    """With zero weights the filters do nothing; RX by pi inverts a Z, RY by pi/2 sets an X."""
    inputs = np.zeros((1, 48))
    inputs[0, 3 * 5] = np.pi
    inputs[0, 3 * 10 + 1] = np.pi / 2
    circuit = make_hqconv()
    out = Device().run(circuit, np.zeros(circuit.weight_shape), inputs).reshape(16, 2)
    expected = np.tile([1.0, 0.0], (16, 1))
    expected[5], expected[10] = (-1, 0), (0, 1)
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_vqc(1, 2), "2 to 8 qubits, not 1"),
        (lambda: make_vqc(9, 2), "2 to 8 qubits, not 9"),
        (lambda: make_vqc(4, 0), "at least one layer, not 0"),
        (lambda: make_hqconv(0), "at least one layer, not 0"),
        (lambda: make_hqconv(1, 5), "side of 2 to 4, not 5"),
        (lambda: make_circuit("qft", 4, 2), "'qft' is unknown; use one of: vqc, hqconv"),
    ],
)
def test_wrong_sizes_are_refused(make: Callable[[], object], message: str) -> None:
    """The error gives the wrong value and the possible values."""
    with pytest.raises(ValueError, match=message):
        make()


def test_circuits_can_be_sent_to_other_processes() -> None:
    """A pickled circuit computes the same."""
    circuit = make_vqc(3, 2, True)
    x, w = np.full((1, 3), 0.5), np.ones(circuit.weight_shape)
    again = pickle.loads(pickle.dumps(circuit))
    np.testing.assert_array_equal(Device().run(circuit, w, x), Device().run(again, w, x))
