from pathlib import Path

import pytest

from qlumen.calibration import import_job
from qlumen.calibration.export import scene_frames

from support.foreign import HEIGHT, WIDTH, make_small, write_onnx


@pytest.fixture(scope="session", autouse=True)
def _render_once() -> None:
    """Render the frames of the check once for all tests of this process."""
    frames = scene_frames()
    patch = pytest.MonkeyPatch()
    patch.setattr(import_job, "scene_frames", lambda: frames)


@pytest.fixture
def small_onnx(tmp_path: Path) -> Path:
    """Write a network of one class as ONNX."""
    return write_onnx(make_small(), tmp_path / "small.onnx", 1, 3, HEIGHT, WIDTH)
