"""For bundles that tests write: how many inputs the circuit's tables are compared on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qlumen.networks import export

FEW = 20
FEWEST = 1
"""Of circuits of 16 qubits, whose live execution takes a third of a second."""


@contextmanager
def few_checks() -> Iterator[None]:
    """Instead of 1,000 and 50. That the tables are right is for `tests/quantum` to show, and that
    as many are checked for `tests/calibration/test_quantum.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "CHECK_INPUTS", FEW)
        patch.setattr(export, "FEW_CHECK_INPUTS", FEWEST)
        yield
