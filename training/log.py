"""Writes the log of a run, with one row for each epoch."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

from qlumen.errors import MissingExtraError

LOG = "log.csv"
FOLDER = "tensorboard"


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Holds the figures of an epoch.

    Attributes:
        epoch: number of the epoch, from 1
        loss: mean over the epoch's steps
        dice: validation Dice of the averaged weights; None without validation images
        best: best `dice` of all epochs so far
        false_share: share of the training images without lesion in which the averaged weights
            find something; None without such images
        cpu_seconds: CPU time of all threads, without workers; steadier than `seconds` on a
            shared machine
    """

    epoch: int
    loss: float
    dice: float | None
    best: float | None
    seconds: float
    false_share: float | None = None
    cpu_seconds: float | None = None


def append(path: Path, report: EpochReport) -> None:
    """Append a row; a file of an older release keeps its columns."""
    row = {name: _text(value) for name, value in asdict(report).items()}
    columns = _columns(path) or list(row)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


class TensorBoardLog:
    """Writes event files to `RUN/tensorboard`; a resumed run adds a file.

    Raises:
        MissingExtraError: TensorBoard is not installed
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "--tensorboard needs TensorBoard: pip install 'qlumen[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(run / FOLDER))

    def add(self, report: EpochReport) -> None:
        """Add a point to the curve of each figure in the report."""
        for name, value in asdict(report).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, report.epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _columns(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.5f}"
