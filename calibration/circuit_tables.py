"""Samples a bundle's trained circuit on a device; checks and renews the circuit's tables."""

import os
import time
from dataclasses import dataclass
from typing import Any

from qlumen.errors import BundleError
from qlumen.evaluation.model_card import render_card
from qlumen.networks.bundle import CARD, Bundle, QuantumRecord
from qlumen.networks.circuit import describe_surrogate, read_circuit, renew_tables
from qlumen.quantum.devices import Device
from qlumen.quantum.surrogate import Surrogate, sample_surrogate


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Holds new tables, their record for the manifest, and the seconds to make them."""

    surrogate: Surrogate
    record: QuantumRecord
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return the record with `table_size`, the number of coefficients, and the seconds."""
        sizes = [rows * columns for rows, columns in self.record.table_shapes]
        return {
            **self.record.model_dump(mode="json"),
            "table_size": sum(sizes),
            "seconds": round(self.seconds, 3),
        }


def calibrate(bundle: Bundle, device: Device) -> Calibration:
    """Sample the bundle's circuit on `device` and compare with live execution.

    Raises:
        BundleError: the bundle has no circuit
        MissingExtraError: the device is not installed
        CircuitError: the device does not accept the circuit
    """
    trained = read_circuit(bundle)
    started = time.monotonic()
    surrogate = sample_surrogate(trained.circuit, trained.weights, device)
    seconds = time.monotonic() - started
    return Calibration(surrogate, describe_surrogate(surrogate, trained.weights), seconds)


def check_writable(bundle: Bundle) -> None:
    """Raise BundleError, before any work, if the bundle's folder is not writable."""
    if not os.access(bundle.folder, os.W_OK):
        raise BundleError(
            f"{bundle.folder} cannot be written; copy the bundle and name the copy with --bundle"
        )


def write_calibration(bundle: Bundle, calibration: Calibration) -> Bundle:
    """Renew the bundle's tables, network, card and manifest."""
    if (bundle.folder / CARD).is_file():
        manifest = bundle.manifest.model_copy(update={"quantum": calibration.record})
        (bundle.folder / CARD).write_text(render_card(manifest), encoding="utf-8")
    return renew_tables(bundle, calibration.surrogate, calibration.record)
