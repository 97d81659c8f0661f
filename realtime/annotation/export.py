"""Writes the outlines of a clip as a data folder that `qlumen train` reads."""

import csv
import re
from collections.abc import Iterable, Sequence
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
    NETWORK = "network"
    PROPAGATED = "propagated"
    LABEL = "label"


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Holds the lesions of a frame: `(H, W) uint8`, not 0 on a lesion."""

    frame: int
    source: Source
    lesions: Mask


@dataclass(frozen=True, slots=True)
class Row:
    """Describes a frame that was written; frames of one group are not independent."""

    stem: str
    group: str
    source: Source
    has_lesion: bool


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
    rows: dict[int, Row] = {}
    with replacing(folder / name) as part:
        for kind in (IMAGES, MASKS):
            (part / kind).mkdir(parents=True)
        for one in outlines:
            has_lesion = bool(one.lesions.any())
            rows[one.frame] = Row(f"{one.frame:06}", name, one.source, has_lesion)
            mask = np.where(one.lesions, 255, 0).astype(np.uint8)
            _write(part / MASKS / f"{one.frame:06}.png", mask)
        with open_recording(review.location, review.settings) as source:
            for _, frame in zip(review.frames, source.frames(), strict=False):
                if frame.index in rows:
                    quality = cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY
                    _write(part / IMAGES / f"{frame.index:06}.jpg", frame.image, quality)
        ordered = [rows[index] for index in sorted(rows)]
        write_index(part, ordered)
    write_lists(folder, name, ordered)
    return len(rows)


def write_index(part: Path, rows: Sequence[Row]) -> None:
    with (part / INDEX).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("stem", "group", "source"))
        writer.writerows((row.stem, row.group, row.source) for row in rows)


def write_lists(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write the lists of `write_data`, in the order of the rows."""
    with_lesion = [row for row in rows if row.has_lesion]
    outlined = [row for row in with_lesion if row.source is Source.KEY]
    without = [row for row in rows if not row.has_lesion]
    for path, listed in zip(
        _list_paths(folder, name), (with_lesion, outlined, without), strict=True
    ):
        _write_list(path, name, listed)


def check_name(folder: Path, name: str) -> None:
    """Raise UsageError unless a clip of this name can be written without harm to other data."""
    if not NAME.fullmatch(name) or name == SPLITS or name.startswith(NEGATIVES):
        raise UsageError(
            f"name {name!r}: use letters, digits, '_', '-' and '.', at most 64; not {SPLITS}, "
            f"and no name that begins with {NEGATIVES}"
        )
    target = folder / name
    if target.exists() and not _is_ours(target):
        raise UsageError(f"{target} holds other data; choose another --name")
    for path in _list_paths(folder, name):
        if any(not line.startswith(f"{name}/") for line in _read_lines(path)):
            raise UsageError(f"{path} lists other data; choose another --name")


def _list_paths(folder: Path, name: str) -> list[Path]:
    return [folder / SPLITS / f"{one.format(name)}.txt" for one in LISTS]


def _is_ours(target: Path) -> bool:
    """Check by its index whether this module wrote a folder."""
    rows = list(csv.DictReader(_read_lines(target / INDEX)))
    return bool(rows) and all(row.get("source") in list(Source) for row in rows)


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; none without one."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _write(path: Path, image: Any, quality: tuple[int, ...] = ()) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image, quality)[1].tobytes())


def _write_list(path: Path, name: str, rows: Sequence[Row]) -> None:
    if rows:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, "".join(f"{name}/{row.stem}\n" for row in rows).encode())
    else:
        path.unlink(missing_ok=True)
