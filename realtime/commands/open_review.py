"""Opens a review for a command, or makes it first."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from qlumen.errors import UsageError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.review.process import process
from qlumen.realtime.review.review import Review, is_review
from qlumen.system.locations import show_location
from qlumen.system.progress import progress_bar


@contextmanager
def open_review(
    source: str, settings: Settings, console: Console, kept: Path | None = None
) -> Iterator[Review]:
    """Open the review in the folder `source`, or that of a recording, made here.

    Args:
        console: shows the progress.
        kept: new folder for the review that is made; without it, it is removed at the end.

    Raises:
        UsageError: `source` is a review, and `kept` is given.
        QlumenError: see `process`.
    """
    if is_review(Path(source)):
        if kept:
            raise UsageError(
                f"--review {kept}: {show_location(source)} is already a review; leave --review out"
            )
        with Review(Path(source)) as review:
            yield review
        return
    with tempfile.TemporaryDirectory(prefix="qlumen-review-") as scratch:
        folder = kept or Path(scratch) / "review"
        with progress_bar("review", None, "frames", console) as show:
            process(source, folder, settings, on_frame=lambda done, expected: show(done))
        with Review(folder, source) as review:
            yield review
