"""Images without a lesion: where they lie, and which of them score."""

import hashlib
from pathlib import Path

from qlumen.errors import DatasetError, UsageError
from qlumen.realtime.sources.images import image_files


def is_training_negative(stem: str) -> bool:
    """Whether a picture of this name is trained on; the others are only for scoring.

    The first byte of the name's SHA-256 is even: about half, on any machine, whatever else
    lies in the folder.
    """
    return hashlib.sha256(stem.encode()).digest()[0] % 2 == 0


def negative_files(base: Path, *, training: bool | None = None) -> list[Path]:
    """The pictures in a folder and the folders in it, by path; none if it does not exist.

    Args:
        training: only those that are trained on, or only the others.
    """
    if not base.is_dir():
        return []
    folders = [base, *(path for path in base.rglob("*") if path.is_dir())]
    files = sorted(file for folder in folders for file in image_files(folder))
    if training is None:
        return files
    return [file for file in files if is_training_negative(file.stem) == training]


def find_negatives(base: Path, *, held_out: bool) -> list[Path]:
    """The pictures to score.

    Raises:
        UsageError: no such folder. DatasetError: no picture in it.
    """
    if not base.is_dir():
        raise UsageError(f"no folder {base}")
    files = negative_files(base, training=False if held_out else None)
    if not files:
        raise DatasetError(f"no image to evaluate in {base}")
    return files
