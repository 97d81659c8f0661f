"""Writes the outlines of a clip as a data folder that `qlumen train` reads."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from qlumen.errors import UsageError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.review.review import Review
from qlumen.system.files import replacing, write_bytes

JPEG_QUALITY = 95
INDEX, SPLITS = "index.csv", "splits"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Source(StrEnum):
    """Says where an outline comes from."""

    KEY = "key"
    PROPAGATED = "propagated"


def write_data(
    folder: Path, name: str, review: Review, outlines: Mapping[int, tuple[Source, Mask]]
) -> None:
    """Write frames and masks into a data folder, which may hold those of other clips.

        NAME/images/000012.jpg, NAME/masks/000012.png   0 and 255
        NAME/index.csv                                  stem, group (NAME), source
        splits/NAME_train.txt                           frames with a lesion
        splits/NAME_key_train.txt                       those that a person outlined
        splits/negatives_NAME_train.txt                 frames without a lesion

    Lists that would be empty are not written. What `NAME` held before is replaced.

    Args:
        outlines: source and lesions `(H, W) uint8`, not 0 on a lesion, by frame.

    Raises:
        UsageError: see `check_name`.
        SinkError: something cannot be written.
    """
    check_name(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / name) as part:
        for kind in ("images", "masks"):
            (part / kind).mkdir(parents=True)
        with open_recording(review.location, review.settings) as source:
            for _, frame in zip(review.frames, source.frames(), strict=False):
                if frame.index in outlines:
                    stem = f"{frame.index:06}"
                    mask = np.where(outlines[frame.index][1], 255, 0).astype(np.uint8)
                    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
                    jpeg, png = (
                        cv2.imencode(".jpg", frame.image, quality)[1],
                        cv2.imencode(".png", mask)[1],
                    )
                    (part / "images" / f"{stem}.jpg").write_bytes(jpeg.tobytes())
                    (part / "masks" / f"{stem}.png").write_bytes(png.tobytes())
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("stem", "group", "source"))
        writer.writerows((f"{i:06}", name, source) for i, (source, _) in sorted(outlines.items()))
        (part / INDEX).write_text(table.getvalue(), encoding="utf-8")
    with_lesion = [i for i, (_, mask) in outlines.items() if mask.any()]
    keys = [i for i in with_lesion if outlines[i][0] is Source.KEY]
    (folder / SPLITS).mkdir(exist_ok=True)
    for split, chosen in {
        f"{name}_train": with_lesion,
        f"{name}_key_train": keys,
        f"negatives_{name}_train": set(outlines) - set(with_lesion),
    }.items():
        _write_list(folder / SPLITS / f"{split}.txt", name, chosen)


def check_name(folder: Path, name: str) -> None:
    """Raise UsageError unless a clip of this name can be written without harm to other data."""
    if not NAME.fullmatch(name) or name == SPLITS:
        raise UsageError(
            f"name {name!r}: use letters, digits, '_', '-' and '.', at most 64, and not {SPLITS}"
        )
    if (folder / name).exists() and not _is_ours(folder / name / INDEX, name):
        raise UsageError(f"{folder / name} holds other data; choose another --name")


def _is_ours(index: Path, name: str) -> bool:
    """Check whether this module wrote an index."""
    try:
        rows = list(csv.DictReader(index.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError):
        return False
    return bool(rows) and all(
        row.get("group") == name and row.get("source") in list(Source) for row in rows
    )


def _write_list(path: Path, name: str, frames: Iterable[int]) -> None:
    lines = [f"{name}/{index:06}\n" for index in sorted(frames)]
    if lines:
        write_bytes(path, "".join(lines).encode())
    else:
        path.unlink(missing_ok=True)
