"""The log of a run for TensorBoard, besides `log.csv`."""

from dataclasses import asdict
from pathlib import Path

from qlumen.errors import MissingExtraError
from qlumen.training.log import EpochReport

FOLDER = "tensorboard"


class TensorBoardLog:
    """Event files in `RUN/tensorboard`; a resumed run adds one that goes on from there.

    Raises:
        MissingExtraError: TensorBoard is not installed.
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
        """A point an epoch on the curve of each figure that the report has."""
        for name, value in asdict(report).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, report.epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
