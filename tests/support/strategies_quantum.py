"""Defines Hypothesis strategies: circuits of all sizes, their weights and inputs."""

import numpy as np
from hypothesis import strategies as st

from qlumen.quantum.circuits import Circuit, make_hqconv, make_vqc

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def vqcs(draw: st.DrawFn, largest: int = 4, layers: int = 3) -> Circuit:
    """Draw a circuit; it has re-uploading only if the table is small enough for a test."""
    qubits, depth = draw(st.integers(2, largest)), draw(st.integers(1, layers))
    small = (2 * depth + 1) ** qubits <= 700
    return make_vqc(qubits, depth, small and draw(st.booleans()))


def hqconvs(largest: int = 2) -> st.SearchStrategy[Circuit]:
    return st.builds(make_hqconv, st.integers(1, 2), st.integers(2, largest))


def angles(circuit: Circuit, rows: int, seed: int) -> np.ndarray:
    """Return `(rows, n_inputs)` in radians, also beyond one turn."""
    return np.random.default_rng((seed, 1)).uniform(-7, 7, (rows, circuit.n_inputs))


def weights(circuit: Circuit, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, 2)).uniform(-7, 7, circuit.weight_shape)
