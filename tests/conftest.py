"""Holds the fixtures that many tests share."""

import gc
import os
from collections.abc import Generator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeVar

# This must come before any import of a library with threads. Four qubits and networks of a few
# cells take less time than a wait for a second thread.
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

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
ROOT = Path(__file__).parents[1]
REQUIRE_ALL = bool(os.environ.get("QLUMEN_REQUIRE_ALL"))
"""CI sets this: a test that cannot run then fails, unless it is marked `gpu`."""


def pytest_collection_finish() -> None:
    """Exclude the modules of all tests from garbage collection: they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test fail under `REQUIRE_ALL`."""
    report = yield
    return report if item.get_closest_marker("gpu") else _fail_if_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a module that skips itself fail under `REQUIRE_ALL`."""
    report = yield
    return _fail_if_skipped(report)


def _fail_if_skipped(report: Report) -> Report:
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, but QLUMEN_REQUIRE_ALL is set: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of the real data: `QLUMEN_DATA`, or `../shared/data`."""
    folder = Path(os.environ.get("QLUMEN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set QLUMEN_DATA")
    return folder


@pytest.fixture(scope="session")
def real_frames(data_dir: Path) -> Sequence[Frame]:
    """Read frames of a recording and stills of both data sets."""
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
    """Write frames of the scene in the layout of the real data."""
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
