"""Lists every way to run the given bundles on this machine."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from qlumen.datasets.splits import NEGATIVES_SCORE, VALIDATION
from qlumen.evaluation.measure import cpu_has_bf16
from qlumen.networks.bundle import RESIZED_FROM, Bundle, Precision, find_bundle, read_bundle
from qlumen.networks.identity import has_torch_weights
from qlumen.realtime.engines.presence import NAMES, Name, engines_here, nvidia_gpus

REPORTED = {"f32": "before", "bf16": "before_bf16"}
"""Entries of an INT8 bundle's report with the figures of its FP32 source."""
SIZE_DOUBT = 0.01
"""Mean Dice subtracted at sizes other than that of training and thresholds, because one of several
sizes is best on a few images by chance. At 256 px one shipped network was 0.006 better than at 352
on the 142 images of `val`, and 0.006 and 0.028 worse on the two test sets."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Describes one way to run a bundle on this machine.

    Attributes:
        threads: threads of an inference; 0 uses all cores
        accuracy: mean validation Dice in this precision from the manifest, or None
    """

    engine: Name
    bundle: Bundle
    precision: Precision
    threads: int
    accuracy: float | None

    @property
    def input_size(self) -> tuple[int, int]:
        spec = self.bundle.manifest.input
        return spec.width, spec.height

    @property
    def lesion_free(self) -> float | None:
        """Return the share of lesion-free images with a finding, from the manifest."""
        value = self.bundle.manifest.metrics.get(NEGATIVES_SCORE, {}).get("with_findings")
        return None if value is None else float(value)

    @property
    def resized(self) -> bool:
        """Check whether the input size differs from that of the bundle with trained weights."""
        return RESIZED_FROM in self.bundle.manifest.provenance

    @property
    def assured(self) -> float:
        """Return the accuracy for the choice; -1 if the manifest states none."""
        if self.accuracy is None:
            return -1.0
        return self.accuracy - (SIZE_DOUBT if self.resized else 0)

    def engine_settings(self) -> dict[str, Any]:
        """Return the section `engine`."""
        # Live video has one frame in the network, so more streams would only divide the cores.
        return {
            "name": self.engine,
            "precision": self.precision,
            "threads": self.threads,
            "streams": 1,
            "requests": 1,
        }

    def __str__(self) -> str:
        threads = {0: "all threads", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        return f"{self.engine} {self.bundle.manifest.name} {self.precision}, {threads}"


def candidates(bundles: Sequence[Bundle], engines: Collection[str] = NAMES) -> list[Candidate]:
    """List the named engines that run here, with the bundles and precisions that they accept."""
    found = []
    for bundle in bundles:
        for engine in engines_here():
            takes = engine.name == "openvino" or has_torch_weights(bundle)
            if not (engine.usable and takes and engine.name in engines):
                continue
            for precision in _precisions(engine.name, bundle):
                accuracy = read_accuracy(bundle, precision, bundles)
                for threads in _threads(engine.name):
                    found.append(Candidate(engine.name, bundle, precision, threads, accuracy))
    return found


def list_shipped_bundles() -> list[Bundle]:
    """Read all bundles that are installed with qlumen, the default one first."""
    default = find_bundle()
    others = sorted(path for path in default.parent.iterdir() if path.is_dir() and path != default)
    return [read_bundle(path) for path in (default, *others) if (path / "bundle.json").is_file()]


def read_accuracy(bundle: Bundle, precision: Precision, bundles: Sequence[Bundle]) -> float | None:
    """Return the mean validation Dice from the manifest.

    A bundle's metrics hold for single precision, or for INT8 in an INT8 bundle. The report of the
    INT8 bundle holds those of its source in bf16, and of a source trained on validation.
    """
    own = _dice(bundle.manifest.metrics)
    if bundle.precision == "int8" or (precision == "f32" and own is not None):
        return own
    for other in bundles:
        record = other.manifest.quantised
        if record and record.bundle_sha256 == bundle.sha256 and precision in REPORTED:
            return _dice(record.report.get(REPORTED[precision], {}))
    return None


def _dice(metrics: dict[str, Any]) -> float | None:
    value = metrics.get(VALIDATION, {}).get("dice")
    return None if value is None else float(value)


def _precisions(engine: Name, bundle: Bundle) -> list[Precision]:
    if engine == "openvino":
        return ["f32"] if bundle.precision == "int8" or not cpu_has_bf16() else ["f32", "bf16"]
    on_gpu = engine in ("torch", "tensorrt", "tensorrt-rtx") and bool(nvidia_gpus())
    return ["f32", "f16"] if on_gpu else ["f32"]


def _threads(engine: Name) -> list[int]:
    """Return all cores, all except one, and half; engines other than OpenVINO use all."""
    cores = os.cpu_count() or 1
    if engine != "openvino":
        return [0]
    return [0, *sorted({cores - 1, cores // 2} - {0, cores}, reverse=True)]
