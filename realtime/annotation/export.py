"""Writes the outlines of a clip as a data folder that `qlumen train` reads."""

import csv
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qlumen.errors import UsageError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.review.review import Review
from qlumen.system.files import replacing, write_bytes

JPEG_QUALITY = 95
IMAGES, MASKS, INDEX, SPLITS, NEGATIVES = "images", "masks", "index.csv", "splits", "negatives"
LISTS = "{}_train", "{}_key_train", NEGATIVES + "_{}_train"
"""Lists of a clip: with a lesion, with one that a person outlined, without one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Source(StrEnum):
    """Says where an outline comes from."""

    KEY = "key"
    PROPAGATED = "propagated"


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Holds the lesions of a frame: `(H, W) uint8`, not 0 on a lesion."""

    frame: int
    source: Source
    lesions: Mask


def write_data(folder: Path, name: str, review: Review, outlines: Iterable[Outline]) -> int:
    """Write frames and masks into a data folder, which may hold those of other clips.

        NAME/images/000012.jpg, NAME/masks/000012.png   0 and 255
        NAME/index.csv                                  stem, group (NAME), source
        splits/NAME_train.txt                           frames with a lesion
        splits/NAME_key_train.txt                       those that a person outlined
        splits/negatives_NAME_train.txt                 frames without a lesion

    Lists that would be empty are not written. What `NAME` held before is replaced at the end.

    Args:
        outlines: taken one after the other, so that they need not fit into memory.

    Returns:
        the number of frames.

    Raises:
        UsageError: see `check_name`.
        SinkError: something cannot be written.
    """
    check_name(folder, name)
    kinds: dict[int, tuple[Source, bool]] = {}
    with replacing(folder / name) as part:
        for kind in (IMAGES, MASKS):
            (part / kind).mkdir(parents=True)
        for one in outlines:
            kinds[one.frame] = one.source, bool(one.lesions.any())
            mask = np.where(one.lesions, 255, 0).astype(np.uint8)
            _write(part / MASKS / f"{one.frame:06}.png", mask)
        with open_recording(review.location, review.settings) as source:
            for _, frame in zip(review.frames, source.frames(), strict=False):
                if frame.index in kinds:
                    quality = cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY
                    _write(part / IMAGES / f"{frame.index:06}.jpg", frame.image, quality)
        with (part / INDEX).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("stem", "group", "source"))
            writer.writerows((f"{i:06}", name, kinds[i][0]) for i in sorted(kinds))
    with_lesion = {i for i, (_, has_lesion) in kinds.items() if has_lesion}
    outlined = {i for i in with_lesion if kinds[i][0] is Source.KEY}
    for path, frames in zip(
        _list_paths(folder, name), (with_lesion, outlined, kinds.keys() - with_lesion), strict=True
    ):
        _write_list(path, name, frames)
    return len(kinds)


def check_name(folder: Path, name: str) -> None:
    """Raise UsageError unless a clip of this name can be written without harm to other data."""
    if not NAME.fullmatch(name) or name == SPLITS or name.startswith(NEGATIVES):
        raise UsageError(
            f"name {name!r}: use letters, digits, '_', '-' and '.', at most 64; not {SPLITS}, "
            f"and no name that begins with {NEGATIVES}"
        )
    target = folder / name
    if target.exists() and not _is_ours(target, name):
        raise UsageError(f"{target} holds other data; choose another --name")
    for path in _list_paths(folder, name):
        if any(not line.startswith(f"{name}/") for line in _read_lines(path)):
            raise UsageError(f"{path} lists other data; choose another --name")


def _list_paths(folder: Path, name: str) -> list[Path]:
    return [folder / SPLITS / f"{one.format(name)}.txt" for one in LISTS]


def _is_ours(target: Path, name: str) -> bool:
    """Check by its index whether this module wrote a folder."""
    rows = list(csv.DictReader(_read_lines(target / INDEX)))
    return bool(rows) and all(
        row.get("group") == name and row.get("source") in list(Source) for row in rows
    )


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; none without one."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _write(path: Path, image: Any, quality: tuple[int, ...] = ()) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image, quality)[1].tobytes())


def _write_list(path: Path, name: str, frames: Collection[int]) -> None:
    if frames:
        path.parent.mkdir(exist_ok=True)
        lines = (f"{name}/{index:06}\n" for index in sorted(frames))
        write_bytes(path, "".join(lines).encode())
    else:
        path.unlink(missing_ok=True)
