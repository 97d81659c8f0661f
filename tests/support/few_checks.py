"""Reduces the inputs on which the circuit's tables are compared, for bundles of tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qlumen.networks import export

FEW = 20
FEWEST = 1
"""Number for circuits of 16 qubits: a live execution takes a third of a second."""


@contextmanager
def few_checks() -> Iterator[None]:
    """Use these numbers instead of 1,000 and 50.

    `tests/quantum` shows that the tables are right. `tests/calibration/test_quantum.py` shows that
    the full numbers are checked.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "CHECK_INPUTS", FEW)
        patch.setattr(export, "FEW_CHECK_INPUTS", FEWEST)
        yield
