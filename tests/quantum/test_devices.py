import numpy as np
import pytest

from qlumen.errors import CircuitError, MissingExtraError
from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device
from qlumen.quantum.surrogate import sample_surrogate

from support.strategies_quantum import angles, weights


def has_gpu() -> bool:
    try:
        Device("lightning.gpu").check(make_vqc(2, 1))
    except MissingExtraError:
        return False
    return True


@pytest.mark.parametrize("circuit", [make_vqc(3, 2), make_hqconv(1, 2)], ids=["vqc", "hqconv"])
@pytest.mark.parametrize("name", ["default.qubit", "default.mixed"])
def test_simulators_agree(circuit: Circuit, name: str) -> None:
    """Broadcasting and density matrices do not change the outputs."""
    x, w = angles(circuit, 5, 0), weights(circuit, 0)
    live = Device(name).run(circuit, w, x)
    np.testing.assert_allclose(live, Device().run(circuit, w, x), atol=1e-10)


def test_read_out_error_shrinks_every_output() -> None:
    """An inverted read-out with probability q scales Z and X by 1 - 2q."""
    circuit = make_hqconv(1, 2)
    x, w = angles(circuit, 3, 0), weights(circuit, 0)
    noisy = Device("default.mixed", readout_error=0.1).run(circuit, w, x)
    np.testing.assert_allclose(noisy, 0.8 * Device().run(circuit, w, x), atol=1e-10)


def test_depolarising_shrinks_as_computed_by_hand() -> None:
    """With all angles zero, each error that a read-out can see scales it by s = 1 - 4p/3.

    This goes back from the end. Z0 meets one error, becomes Z0 Z1 through CNOT 1-0, meets two,
    becomes Z1 through CNOT 0-1, and meets two of RY and Rot: s^5. Z1 meets one, passes CNOT 1-0,
    meets one, becomes Z0 Z1 through CNOT 0-1, and meets two each of RY and Rot: s^6.
    """
    circuit, p = make_vqc(2, 1), 0.03
    device = Device("default.mixed", depolarizing=p)
    noisy = device.run(circuit, np.zeros(circuit.weight_shape), np.zeros((1, 2)))
    s = 1 - 4 * p / 3
    np.testing.assert_allclose(noisy, [[s**5, s**6]], atol=1e-12)


def test_no_rows_are_no_error() -> None:
    """An empty batch gives an empty result."""
    circuit = make_vqc(2, 1)
    assert Device().run(circuit, np.zeros((1, 2, 3)), np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.skipif(has_gpu(), reason="lightning.gpu works here")
def test_missing_gpu_names_the_extra() -> None:
    """The error names the package to install and the executor that works without it."""
    with pytest.raises(MissingExtraError, match=r"pip install qlumen\[gpu\].*surrogate"):
        Device("lightning.gpu").check(make_vqc(2, 1))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (Device("abacus"), "'abacus' is unknown; use one of"),
        (Device("lightning.qubit", depolarizing=0.1), "simulates no noise; use default.mixed"),
        (Device("default.mixed"), r"4\^16 entries; default.mixed takes at most 10"),
    ],
)
def test_impossible_devices_are_refused(device: Device, message: str) -> None:
    """The check refuses a device before any circuit runs."""
    with pytest.raises(CircuitError, match=message):
        device.check(make_hqconv())


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="lightning.gpu cannot be opened here")
@pytest.mark.parametrize("circuit", [make_vqc(4, 2), make_hqconv()], ids=["vqc", "hqconv"])
def test_lightning_gpu_equals_lightning_qubit(circuit: Circuit) -> None:
    """Both devices agree live, and with tables that are sampled on lightning.gpu."""
    x, w = angles(circuit, 4, 0), weights(circuit, 0)
    live = Device().run(circuit, w, x)
    np.testing.assert_allclose(Device("lightning.gpu").run(circuit, w, x), live, atol=1e-10)
    surrogate = sample_surrogate(circuit, w, Device("lightning.gpu"))
    np.testing.assert_allclose(surrogate(x), live, atol=1e-10)
