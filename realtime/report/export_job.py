"""Writes a review's outputs in a worker, outside the process that serves pages."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review
from qlumen.realtime.review.worker import OnProgress


def arguments(
    review: Path,
    thresholds: Thresholds,
    outputs: ReportOutputs,
    patient: str | None = None,
    operator: str | None = None,
) -> dict[str, Any]:
    """Build the arguments of `run`; see `write_all`."""
    return {
        "review": str(review),
        "thresholds": thresholds.model_dump(),
        "outputs": {name: str(path) for name, path in asdict(outputs).items() if path},
        "patient": patient,
        "operator": operator,
    }


def run(given: dict[str, Any], on_progress: OnProgress) -> None:
    """Find lesions at the given thresholds and write the outputs; raise errors as `write_all`."""
    outputs = ReportOutputs(**{name: Path(path) for name, path in given["outputs"].items()})
    with Review(Path(given["review"])) as review:
        findings = find(review, Thresholds(**given["thresholds"]))
        write_all(
            review,
            findings,
            outputs,
            patient=given["patient"],
            operator=given["operator"],
            tell=on_progress,
        )
