"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
