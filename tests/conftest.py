"""Fixtures that many tests share."""

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import pytest
from hypothesis import settings

from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.container import ContainerSource

settings.register_profile("qlumen", deadline=None)  # no absolute times on shared machines
settings.load_profile("qlumen")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data: `QLUMEN_DATA`, or `../shared/data` beside the project."""
    folder = Path(os.environ.get("QLUMEN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set QLUMEN_DATA")
    return folder


@pytest.fixture(scope="session")
def real_frames(data_dir: Path) -> Sequence[Frame]:
    """Frames of a recording and stills of both data sets."""
    folders = [data_dir / name for name in ("kvasir-seg", "cvc-clinicdb")]
    files = [path for folder in folders for path in sorted(folder.glob("images/*.jpg"))[:2]]
    stills = [cv2.imread(str(path)) for path in files]
    with ContainerSource(str(data_dir / "clips" / "ldpolypvideo_test101.mp4")) as source:
        moving = list(islice(source.frames(), 0, 9, 3))
    return [*moving, *(Frame(i, 0, Fraction(1), image, 0) for i, image in enumerate(stills))]
