"""The log of a run: a row an epoch."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

LOG = "log.csv"


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Attributes:
    epoch: 1-based. loss: mean over the epoch's steps.
    dice: of the averaged weights on the validation images; `best` of all epochs so far. None
        without such images.
    false_share: of the training pictures without lesion in which the averaged weights find
        something; None without such pictures.
    cpu_seconds: of all threads of the process, which tell more than `seconds` on a shared machine.
    """

    epoch: int
    loss: float
    dice: float | None
    best: float | None
    seconds: float
    false_share: float | None = None
    cpu_seconds: float | None = None


def append(path: Path, report: EpochReport) -> None:
    """Add a row; a file of an older release keeps the columns that it has."""
    row = {name: _text(value) for name, value in asdict(report).items()}
    columns = _columns(path) or list(row)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _columns(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.5f}"
