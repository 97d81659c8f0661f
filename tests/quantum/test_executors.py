import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc
from qlumen.quantum.devices import Device
from qlumen.quantum.executors import DeviceExecutor, Memo, SurrogateExecutor, open_executor
from qlumen.quantum.surrogate import sample_surrogate

from support.strategies_quantum import SEEDS, angles, weights

CIRCUIT = make_vqc(3, 2)


def surrogate_executor(seed: int = 0) -> SurrogateExecutor:
    trained = weights(CIRCUIT, seed)
    return SurrogateExecutor(sample_surrogate(CIRCUIT, trained, Device("default.qubit")))


class CountingExecutor(SurrogateExecutor):
    """Counts the rows that it computes."""

    def __init__(self) -> None:
        super().__init__(sample_surrogate(CIRCUIT, weights(CIRCUIT, 0), Device("default.qubit")))
        self.rows = 0

    def __call__(self, angles: np.ndarray) -> np.ndarray:
        self.rows += len(angles)
        return super().__call__(angles)


@pytest.mark.parametrize("circuit", [make_vqc(3, 2), make_hqconv(1, 2)], ids=["vqc", "hqconv"])
def test_all_executors_agree(circuit: Circuit) -> None:
    """The tables and three devices give the same outputs."""
    x, w = angles(circuit, 4, 0), weights(circuit, 0)
    devices = [None, *map(Device, ("lightning.qubit", "default.qubit", "default.mixed"))]
    outputs = [open_executor(circuit, w, device)(x) for device in devices]
    for other in outputs[1:]:
        np.testing.assert_allclose(outputs[0], other, atol=1e-10)


def test_processes_keep_the_order_of_rows() -> None:
    """Processes that share a frame's circuits change no order, and values only by rounding.

    The simulator sums in another order with another number of threads.
    """
    x, w = angles(CIRCUIT, 33, 0), weights(CIRCUIT, 0)
    executor = DeviceExecutor(CIRCUIT, w, Device(), workers=2)
    try:
        np.testing.assert_allclose(executor(x), Device().run(CIRCUIT, w, x), atol=1e-14, rtol=0)
    finally:
        executor.close()
        executor.close()


@given(SEEDS, st.floats(1e-4, 0.5))
def test_memo_stays_within_its_error_bound(seed: int, step: float) -> None:
    """For any step, no output has a larger error than the reported bound."""
    exact = surrogate_executor(seed)
    memo = Memo(exact, CIRCUIT, step, entries=1000)
    x = angles(CIRCUIT, 20, seed)
    assert np.abs(memo(x) - exact(x)).max() <= memo.error_bound + 1e-12
    assert memo.error_bound <= 3 * step / 2


def test_memo_runs_each_row_once() -> None:
    """Repeated rows, in one frame or in the next, are looked up and counted in the hit rate."""
    inner = CountingExecutor()
    memo = Memo(inner, CIRCUIT, 1e-3, entries=100)
    x = angles(CIRCUIT, 5, 0)
    first = memo(np.concatenate([x, x]))
    second = memo(x + 1e-5)
    assert inner.rows == 5
    assert memo.hit_rate == 10 / 15
    np.testing.assert_array_equal(first[:5], first[5:])
    assert np.abs(second - first[:5]).max() <= 2 * memo.error_bound


def test_memo_forgets_the_least_recently_used() -> None:
    """The memo is bounded, and keeps the rows that were used last."""
    inner = CountingExecutor()
    memo = Memo(inner, CIRCUIT, 0.0, entries=2)
    a, b, c = (angles(CIRCUIT, 1, seed) for seed in range(3))
    for rows in (a, b, a, c, a):
        memo(rows)
    assert inner.rows == 3
    memo(b)
    assert inner.rows == 4


def test_memo_smaller_than_a_frame_still_answers() -> None:
    """Rows of the present frame are returned before they are forgotten."""
    memo, x = Memo(surrogate_executor(), CIRCUIT, 0.0, entries=1), angles(CIRCUIT, 6, 0)
    np.testing.assert_array_equal(memo(x), surrogate_executor()(x))


def test_memo_describes_itself() -> None:
    """The summary has the lookups, the hit rate and the error bound."""
    memo = Memo(surrogate_executor(), CIRCUIT, 0.01, entries=10)
    memo(angles(CIRCUIT, 2, 0))
    about = memo.describe()["memo"]
    assert about["lookups"] == 2
    assert about["hit_rate"] == 0
    assert about["error_bound"] == pytest.approx(0.015)
