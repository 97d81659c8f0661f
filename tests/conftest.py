"""Fixtures that many tests share."""

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

# Before any library with threads is loaded: four qubits and networks of a few cells are not
# worth a second thread, and waiting for it costs more than they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import pytest
from hypothesis import settings

from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.ffmpeg.container import ContainerSource
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

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
    return [
        *moving,
        *(Frame(i, 0, Fraction(1), BgrImage(image), 0) for i, image in enumerate(stills)),
    ]


@pytest.fixture(scope="session")
def scene_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the scene in the layout of the real data."""
    root = tmp_path_factory.mktemp("scene-data")
    for part in ("scene/images", "scene/masks", "splits"):
        (root / part).mkdir(parents=True)
    source = SceneSource(SceneSettings(width=96, height=80, frame_count=240))
    names = []
    for index in range(0, 240, 20):
        frame = source.frame(index)
        assert frame.truth is not None
        cv2.imwrite(str(root / f"scene/images/{index}.jpg"), frame.image)
        cv2.imwrite(str(root / f"scene/masks/{index}.png"), frame.truth * 255)
        names.append(f"scene/{index}")
    (root / "splits/train.txt").write_text("\n".join(names[:8]))
    (root / "splits/val.txt").write_text("\n".join(names[8:]))
    return root
