"""Makes a review in a worker."""

from pathlib import Path
from typing import Any

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.intake.probe import check_announced
from qlumen.realtime.review.intake.sniff import sniff
from qlumen.realtime.review.worker import OnProgress


def arguments(file: Path, folder: Path, settings: Settings, name: str) -> dict[str, Any]:
    """Build the arguments of `run`; `file` is the recording and `folder` the review's."""
    dumped = settings.model_dump(mode="json")
    return {"file": str(file), "folder": str(folder), "settings": dumped, "name": name}


def run(given: dict[str, Any], on_progress: OnProgress) -> dict[str, Any]:
    """Check a file's content and what it announces, then review it.

    Returns:
        `frames`, and `error`: None, or the reason why the recording ended early.

    Raises:
        QlumenError: the file is refused or cannot be read.
    """
    settings = Settings.model_validate(given["settings"])
    limits, folder, name = Limits.from_settings(settings), Path(given["folder"]), given["name"]
    file = name_by_content(Path(given["file"]), folder.parent)
    check_announced(file, sniff(file), limits)
    # This import loads the network's libraries, which are slow and not needed to refuse a file.
    from qlumen.realtime.review.process import process

    summary = process(str(file), folder, settings, limits, on_progress, name=name)
    return {"frames": summary.frames, "error": summary.error}


def name_by_content(file: Path, folder: Path) -> Path:
    """Return the file, or a link in `folder` whose ending fits the content.

    Readers also use the ending. Raises RefusedError as `sniff`.
    """
    suffix = sniff(file).suffix
    if file.suffix.lower() == suffix:
        return file
    link = folder / f"recording{suffix}"
    link.symlink_to(file.absolute())
    return link
