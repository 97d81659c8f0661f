"""A review to report on, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qlumen.realtime.review.review import Review

from support.reviews import make_recording, make_review


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a review; its recording lies beside it, as `clip.mp4`."""
    folder = tmp_path_factory.mktemp("made")
    return make_review(folder / "review", make_recording(folder / "clip.mp4"))


@pytest.fixture
def review(made: Path) -> Iterator[Review]:
    with Review(made) as opened:
        yield opened
