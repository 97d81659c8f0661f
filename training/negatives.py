"""Pictures without a lesion, and which of them are trained on."""

import hashlib
from pathlib import Path

from qlumen.realtime.sources.folder import image_files

FOLDER = "negatives"


def is_training_negative(stem: str) -> bool:
    """Whether a picture of this name is trained on; the others are only for scoring.

    The first byte of the name's SHA-256 is even: about half, on any machine, whatever else
    lies in the folder.
    """
    return hashlib.sha256(stem.encode()).digest()[0] % 2 == 0


def negative_files(root: Path, *, training: bool) -> list[Path]:
    """The pictures of one side in `root/negatives` and the folders in it, by path.

    Without that folder there are none.
    """
    base = root / FOLDER
    folders = [base, *sorted(path for path in base.rglob("*") if path.is_dir())]
    files = [file for folder in folders if folder.is_dir() for file in image_files(folder)]
    return sorted(file for file in files if is_training_negative(file.stem) == training)
