"""Keeps the outlines of a clip as files, so that a process that is killed loses none.

FOLDER/WHO/000012.png          number of the lesion at each pixel; 0 without one
FOLDER/WHO/000012.network      the outline is the network's; 000012.skipped: nobody can judge it
FOLDER/WHO/classes.json        class of each lesion
FOLDER/WHO/propagated/000013.png   outlines between keys; made.json: what they were made of
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel

from qlumen.errors import RefusedError, UsageError
from qlumen.realtime.annotation.export import NAME
from qlumen.realtime.pixels.arrays import Mask
from qlumen.system.files import write_bytes, write_json

MAX_LESIONS = 20
FRAME = "[0-9]" * 6
"""Pattern of the names of frames."""
PROPAGATED, MADE, CLASSES = "propagated", "made.json", "classes.json"


class Mark(StrEnum):
    """Says where a frame's outline is from, or that the frame is skipped."""

    KEY = "key"
    NETWORK = "network"
    PROPAGATED = "propagated"
    SKIPPED = "skipped"


class Made(BaseModel):
    """Describes propagated outlines.

    Attributes:
        keys: time of change of each key's file, ns.
        disagreement: see `Propagated`, by frame.
        history: number of keys and mean disagreement of all propagations.
    """

    keys: dict[int, int] = {}
    disagreement: dict[int, float] = {}
    history: list[tuple[int, float]] = []


class Project:
    """Reads and writes the outlines that one annotator drew in a clip.

    Args:
        clip: folder of the clip, which has a folder for each annotator.
        who: name of the annotator.

    Raises:
        UsageError: the name is no name of a folder.
    """

    def __init__(self, clip: Path, who: str) -> None:
        if not NAME.fullmatch(who):
            raise UsageError(
                f"annotator {who!r}: use letters, digits, '_', '-' and '.', at most 64"
            )
        self.folder = clip / who

    @property
    def made(self) -> Made:
        path = self.folder / PROPAGATED / MADE
        return Made.model_validate_json(path.read_bytes()) if path.is_file() else Made()

    @property
    def stamps(self) -> dict[int, int]:
        """Return the time of change of each outlined frame, ns."""
        return {int(p.stem): p.stat().st_mtime_ns for p in self.folder.glob(f"{FRAME}.png")}

    @property
    def marks(self) -> dict[int, Mark]:
        """Return the mark of each frame that has one."""
        marks = dict.fromkeys(self._frames(f"{PROPAGATED}/{FRAME}.png"), Mark.PROPAGATED)
        marks |= dict.fromkeys(self._frames(f"{FRAME}.{Mark.SKIPPED}"), Mark.SKIPPED)
        keys = self._frames(f"{FRAME}.png")
        marks |= dict.fromkeys(keys, Mark.KEY)
        return marks | dict.fromkeys(keys & self._frames(f"{FRAME}.{Mark.NETWORK}"), Mark.NETWORK)

    @property
    def classes(self) -> dict[str, str]:
        """Return the class of each lesion that has one, by its number."""
        path = self.folder / CLASSES
        found: dict[str, str] = json.loads(path.read_bytes()) if path.is_file() else {}
        return found

    def name_classes(self, classes: Mapping[int, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / CLASSES, dict(classes))

    def outline(self, index: int) -> Mask | None:
        """Read a frame's outline `(H, W) uint8`, also a propagated one; None without one."""
        for folder in (self.folder, self.folder / PROPAGATED):
            if (path := folder / f"{index:06}.png").is_file():
                levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                if levels is None:
                    raise UsageError(f"the outline of frame {index} is damaged; remove {path}")
                return levels.astype(np.uint8, copy=False)
        return None

    def outlines(self, *marks: Mark) -> dict[int, Mask]:
        """Read the outlines of all frames with one of these marks."""
        wanted = sorted(index for index, mark in self.marks.items() if mark in marks)
        found = {index: self.outline(index) for index in wanted}
        return {index: outline for index, outline in found.items() if outline is not None}

    def write(self, index: int, outline: Mask | None, mark: Mark | None) -> None:
        """Write an outline or a skip; None and None remove both, and show what was propagated.

        A process that is killed here leaves the outline of before or the new one.
        """
        path = self.folder / f"{index:06}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        if outline is not None:
            write_bytes(path, encode(outline))
        for kind in (Mark.NETWORK, Mark.SKIPPED):
            flag = path.with_suffix(f".{kind}")
            flag.touch() if mark is kind else flag.unlink(missing_ok=True)
        if outline is None:
            path.unlink(missing_ok=True)

    def next_frame(self, count: int) -> int | None:
        """Choose the frame to outline next; None if all have an outline or are skipped.

        That is the one of largest disagreement between keys that are as they were; without one,
        the middle of the widest gap.

        Args:
            count: number of frames of the clip.
        """
        marks, stamps, made = self.marks, self.stamps, self.made
        free = [i for i in range(count) if marks.get(i, Mark.PROPAGATED) is Mark.PROPAGATED]
        told = {i: made.disagreement[i] for i in free if made.disagreement.get(i)}
        fresh = {i: told[i] for i in told if _around(stamps, i) == _around(made.keys, i)}
        if fresh:
            return max(fresh, key=lambda i: fresh[i])
        edges = [-1, *sorted(stamps), count]
        gaps = {
            i: min(i - edges[at - 1], edges[at] - i) for i in free if (at := bisect_left(edges, i))
        }
        return max(gaps, key=lambda i: gaps[i], default=None)

    def _frames(self, pattern: str) -> set[int]:
        return {int(path.stem) for path in self.folder.glob(pattern)}


def list_annotators(clip: Path) -> list[str]:
    return sorted(path.name for path in clip.glob("*") if path.is_dir())


def check_outline(png: bytes, size: tuple[int, int]) -> Mask:
    """Decode an outline that a browser sent, `(H, W) uint8`.

    Args:
        size: width and height of the frame.

    Raises:
        RefusedError: it is no opaque grey PNG of this size, or has a number above `MAX_LESIONS`.
    """
    wanted = b"\x89PNG\r\n\x1a\n", b"IHDR", *(side.to_bytes(4) for side in size), b"\x08"
    width, height = size
    if (png[:8], png[12:16], png[16:20], png[20:24], png[24:25]) != wanted:
        raise RefusedError(f"the outline is no PNG of {width}x{height} with 8 bits; send one")
    levels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise RefusedError("the outline is damaged; send it again")
    planes = levels.reshape(height, width, -1)
    grey = (planes[..., :3] == planes[..., :1]).all() and planes[..., 3:].min(initial=255) == 255
    if not grey or planes[..., 0].max() > MAX_LESIONS:
        raise RefusedError(f"the outline is not of opaque grey levels 0 to {MAX_LESIONS}; mend it")
    return np.ascontiguousarray(planes[..., 0])


def encode(outline: Mask) -> bytes:
    """Encode an outline as PNG."""
    return cv2.imencode(".png", outline)[1].tobytes()


def _around(stamps: Mapping[int, int], index: int) -> list[tuple[int, int]]:
    """Return the keys before and after a frame with their times of change."""
    keys = sorted(stamps)
    at = bisect_left(keys, index)
    return [(key, stamps[key]) for key in keys[max(0, at - 1) : at + 1]]
