"""The worker's task of writing a review's outputs, away from the process that serves pages."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review
from qlumen.realtime.review.worker import Tell


def arguments(
    review: Path,
    thresholds: Thresholds,
    outputs: ReportOutputs,
    patient: str | None = None,
    operator: str | None = None,
) -> dict[str, Any]:
    """For `run`; see `write_all`."""
    return {
        "review": str(review),
        "thresholds": thresholds.model_dump(),
        "outputs": {name: str(path) for name, path in asdict(outputs).items() if path},
        "patient": patient,
        "operator": operator,
    }


def run(given: dict[str, Any], tell: Tell) -> None:
    """Find anew at the thresholds and write the outputs. Raises QlumenError as `write_all`."""
    outputs = ReportOutputs(**{name: Path(path) for name, path in given["outputs"].items()})
    with Review(Path(given["review"])) as review:
        findings = find(review, Thresholds(**given["thresholds"]))
        write_all(
            review,
            findings,
            outputs,
            patient=given["patient"],
            operator=given["operator"],
            tell=tell,
        )
