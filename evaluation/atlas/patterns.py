"""Groups crops into patterns, and reports them in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from qlumen.evaluation.atlas.crops import Crop
from qlumen.evaluation.atlas.prototypes import Family, Groups, Images, Places, group, move_back
from qlumen.realtime.pixels.arrays import Image

FAMILY = Family((0, -1 / 8, 1 / 8), (1, 0.8, 1.25), tuple(range(0, 360, 45)), brightness=True)
LOOK_PX = 32
"""Side of the crops that are compared."""
FALSE_FINDINGS, MISSED_LESIONS = "false findings", "missed lesions"
MOST_OF_ALL = 0.8
"""Share of the errors whose patterns are counted in the first sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Holds a crop, and how its pattern explains it.

    Attributes:
        explained: share of the crop's difference from the average colour, 0 to 1
        move: shift in x and y as shares of the side, scale, rotation in degrees
    """

    crop: Crop
    explained: float
    move: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Holds one group of crops.

    Attributes:
        picture: `(64, 64, 3) uint8` BGR, mean of the crops after they are moved onto each other
        members: crops, the best explained first
    """

    picture: Image
    members: list[Member]

    @property
    def sources(self) -> list[tuple[str, int]]:
        """Return the number of crops of each source, the largest first."""
        return Counter(member.crop.image.origin.source for member in self.members).most_common()

    @property
    def clusters(self) -> int:
        """Count the independent sources of crops: procedures, videos or single images."""
        return len({member.crop.image.origin.cluster for member in self.members})

    @property
    def touching(self) -> int:
        """Count the crops whose box overlaps one of the other kind, so the outline is wrong."""
        return sum(member.crop.overlap > 0 for member in self.members)


def find_patterns(crops: Sequence[Crop], count: int) -> list[Pattern]:
    """Group crops into at most `count` patterns, the largest first; [] without crops."""
    if not crops:
        return []
    looks = describe_looks(crops)
    groups = group(looks, count, FAMILY)
    explained = 1 - groups.errors / np.maximum(np.square(looks).sum(axis=(1, 2, 3)), 1e-9)
    moves = FAMILY.values()
    pixels = np.array([crop.pixels for crop in crops], np.float32)
    patterns = []
    for label in range(len(groups.prototypes)):
        own = np.flatnonzero(groups.labels == label)
        if own.size:
            order = own[np.argsort(-explained[own], kind="stable")]
            members = [
                Member(crops[i], max(0.0, float(explained[i])), moves[groups.moves[i]])
                for i in order
            ]
            patterns.append(Pattern(_mean_picture(pixels, groups, own), members))
    return sorted(patterns, key=lambda pattern: -len(pattern.members))


def describe_looks(crops: Sequence[Crop]) -> Images:
    """Return what is compared of each crop, `(n, 32, 32, 3) float32`.

    It is the difference from the mean CIELAB colour of all crops, divided by its root mean square,
    so a faint crop counts as much as a strong one.
    """
    size = (LOOK_PX, LOOK_PX)
    small = [cv2.resize(crop.pixels, size, interpolation=cv2.INTER_AREA) for crop in crops]
    colours = np.array(
        [cv2.cvtColor(one.astype(np.float32) / 255, cv2.COLOR_BGR2Lab) for one in small]
    )
    colours -= colours.mean(axis=(0, 1, 2))
    strength = np.sqrt(np.square(colours).mean(axis=(1, 2, 3), keepdims=True))
    return colours / np.maximum(strength, 1e-6)


def count_most(patterns: Sequence[Pattern]) -> int:
    """Return how many patterns, the largest first, hold 80% of the crops."""
    counts = np.cumsum([len(pattern.members) for pattern in patterns])
    return int(np.argmax(counts / counts[-1] >= MOST_OF_ALL)) + 1


def first_sentence(patterns: Sequence[Pattern], what: str) -> str:
    """Say how many patterns make 80% of the errors of this name."""
    if not patterns:
        return f"There are no {what}."
    share = f"{MOST_OF_ALL:.0%} of the {count_crops(patterns)} {what}"
    return f"{count_most(patterns)} of {len(patterns)} patterns make {share}."


def count_crops(patterns: Sequence[Pattern]) -> int:
    return sum(len(pattern.members) for pattern in patterns)


def report_patterns(patterns: Sequence[Pattern]) -> dict[str, Any]:
    """Return counts and patterns for JSON, with the place of every crop in its image."""
    whole = count_crops(patterns)
    rows = [
        {
            "count": len(pattern.members),
            "share": len(pattern.members) / whole,
            "sources": dict(pattern.sources),
            "clusters": pattern.clusters,
            "touching": pattern.touching,
            "crops": [_report_member(member) for member in pattern.members],
        }
        for pattern in patterns
    ]
    most = count_most(patterns) if patterns else 0
    return {"count": whole, "patterns_of_80_percent": most, "patterns": rows}


def _report_member(member: Member) -> dict[str, Any]:
    crop, (shift_x, shift_y, scale, turn_deg) = member.crop, member.move
    return {
        "name": crop.image.pair.name,
        "split": crop.image.split,
        "source": crop.image.origin.source,
        "cluster": crop.image.origin.cluster,
        "box": list(crop.box),
        "score": crop.score,
        "overlap": crop.overlap,
        "explained": member.explained,
        "shift": [shift_x, shift_y],
        "scale": scale,
        "turn_deg": turn_deg,
    }


def _mean_picture(pixels: Images, groups: Groups, own: Places) -> Image:
    moves = groups.moves[own]
    total = move_back(pixels[own], moves, FAMILY).sum(axis=0)
    weight = move_back(np.ones_like(pixels[own]), moves, FAMILY).sum(axis=0)
    return np.round(total / np.maximum(weight, 1e-6)).clip(0, 255).astype(np.uint8)
