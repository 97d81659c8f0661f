"""Provides a review to report on, made once per session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qlumen.realtime.review.review import Review

from support.reviews import make_recording, make_review


@pytest.fixture(scope="session")
def review_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a review; its recording `clip.mp4` is in the parent folder."""
    folder = tmp_path_factory.mktemp("made")
    return make_review(folder / "review", make_recording(folder / "clip.mp4"))


@pytest.fixture
def review(review_folder: Path) -> Iterator[Review]:
    with Review(review_folder) as opened:
        yield opened
