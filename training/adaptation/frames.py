"""Collects the frames of clips and folders as images in memory and files."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from qlumen.datasets.splits import find_images
from qlumen.errors import SourceNotFoundError, UsageError
from qlumen.realtime.annotation.export import JPEG_QUALITY
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sources.choose import open_source
from qlumen.system.files import replacing
from qlumen.training.data import Dataset, unlabelled_data

MOST_FRAMES = 5000
"""Frames in memory: 0.7 MB each."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Holds the frames of clips: images in memory, a file each, and the clip that each is of."""

    images: Dataset
    files: tuple[Path, ...]
    clips: tuple[str, ...]


def check_clips(clips: Sequence[str]) -> None:
    """Raise an error if a clip is missing, has no image, or if two have one name."""
    names = [Path(clip).stem for clip in clips]
    for clip in clips:
        if not Path(clip).exists():
            raise SourceNotFoundError(f"no such video or folder: {clip}; check the path")
        if Path(clip).is_dir():
            find_images(Path(clip))
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two clips have the name {min(twice)}; rename one")


def collect_frames(clips: Sequence[str], folder: Path, every: int) -> Frames:
    """Copy each `every`-th image of folders, and decode each `every`-th frame of videos.

    Args:
        folder: folder for the images, `CLIP_STEM.SUFFIX`; replaced if it exists.

    Raises:
        SourceError: a clip cannot be read.
        UsageError: there are too many frames, or two would have one name.
    """
    owners: dict[str, str] = {}
    with replacing(folder) as part:
        part.mkdir(parents=True)
        for clip in clips:
            name = Path(clip).stem
            for stem in _copy(clip, part, name, every):
                if stem in owners:
                    raise UsageError(f"two images of {clip} would have the name {stem}; rename one")
                owners[stem] = name
                if len(owners) > MOST_FRAMES:
                    raise UsageError(
                        f"the clips have more than {MOST_FRAMES:,} frames; give a larger --every"
                    )
    files = tuple(find_images(folder))
    images = unlabelled_data(folder, [str(folder)])
    return Frames(images, files, tuple(owners[file.stem] for file in files))


def _copy(clip: str, folder: Path, name: str, every: int) -> Iterator[str]:
    """Copy or decode the frames of a clip to a folder; yield the stem of each."""
    base = Path(clip)
    if base.is_dir():
        for file in find_images(base)[::every]:
            inner = "_".join(file.relative_to(base).with_suffix("").parts)
            shutil.copyfile(file, folder / f"{name}_{inner}{file.suffix.lower()}")
            yield f"{name}_{inner}"
        return
    with open_source(clip, Settings()) as source:
        for number, frame in enumerate(source.frames()):
            if number % every == 0:
                stem = f"{name}_{number:06}"
                quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
                content = cv2.imencode(".jpg", frame.image, quality)[1]
                (folder / f"{stem}.jpg").write_bytes(content.tobytes())
                yield stem
