"""The worker's task of making a review."""

from pathlib import Path
from typing import Any

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.intake.probe import check_announced
from qlumen.realtime.review.intake.sniff import sniff
from qlumen.realtime.review.worker import Tell


def arguments(file: Path, folder: Path, settings: Settings, name: str) -> dict[str, Any]:
    """For `run`: the recording, the review's folder, the settings, the recording's name."""
    dumped = settings.model_dump(mode="json")
    return {"file": str(file), "folder": str(folder), "settings": dumped, "name": name}


def run(given: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Check a file by what it is and what it announces, then review it.

    Returns:
        `frames`, and `error`: None, or why the recording ended early.

    Raises:
        QlumenError: it is refused or cannot be read.
    """
    settings = Settings.model_validate(given["settings"])
    limits, folder, name = Limits.of(settings), Path(given["folder"]), given["name"]
    file = name_by_content(Path(given["file"]), folder.parent)
    check_announced(file, sniff(file), limits)
    # What runs the network takes longest to load, and is not needed to refuse a file.
    from qlumen.realtime.review.process import process

    summary = process(str(file), folder, settings, limits, tell, name=name)
    return {"frames": summary.frames, "error": summary.error}


def name_by_content(file: Path, folder: Path) -> Path:
    """The file, or a link to it in `folder` where its name's ending says something else than its
    content: readers go by endings, too. Raises RefusedError as `sniff`."""
    suffix = sniff(file).suffix
    if file.suffix.lower() == suffix:
        return file
    link = folder / f"recording{suffix}"
    link.symlink_to(file.absolute())
    return link
