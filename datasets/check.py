"""Checks the lists of a data folder for what would spoil a training or its scores."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.groups import read_origins
from qlumen.datasets.pairs import read_bgr, read_pair
from qlumen.datasets.splits import TRAINING, is_lesion_free, list_splits, pair_of, split_names
from qlumen.errors import DatasetError
from qlumen.realtime.endoscope.field import crop, find_field
from qlumen.realtime.pixels.arrays import Image

HASH_SIDE = 16
ALIKE_BITS = 70
"""Most bits of 512 in which near-duplicates differ. Of 3,043 images of Kvasir, ClinicDB, PolypGen
and others, pairs of other groups are the same picture up to 79 bits, and mostly not from 82 on."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class _Checked:
    size: tuple[int, int] | None = None
    share: float = 0.0
    bits: NDArray[np.uint64] | None = None
    problem: str | None = None


def check_dataset(root: Path) -> dict[str, Any]:
    """Check all lists of `root/splits`, and return plain JSON types.

    `lists` has for each list its images, sizes, quantiles of the share of lesion pixels, empty
    masks, and problems. `overlaps` has, for each two lists, the images and groups in both, and
    near-duplicates. `wrong` counts the problems, and what a list for training shares with one that
    is not.

    Raises:
        DatasetError: a list or an index cannot be read
    """
    names = {split: split_names(root, split) for split in list_splits(root)}
    if not names:
        raise DatasetError(f"no list in {root}/splits")
    free = {name for split in names if is_lesion_free(split) for name in names[split]}
    known = sorted({name for members in names.values() for name in members})
    checked = {name: _check_image(root, name, name in free) for name in known}
    lists = {split: _describe(members, checked) for split, members in names.items()}
    groups = {one.name: one.cluster for one in read_origins(root, known)}
    overlaps = list(_overlaps(names, groups, _near_duplicates(checked)))
    wrong = sum(len(one["problems"]) for one in lists.values())
    wrong += sum(one["count"] for one in overlaps if one["leak"])
    return {"lists": lists, "overlaps": overlaps, "wrong": wrong}


def _check_image(root: Path, name: str, lesion_free: bool) -> _Checked:
    pair = pair_of(root, name)
    try:
        if lesion_free:
            image, share = read_bgr(pair.image), 0.0
        else:
            image, mask = read_pair(pair)
            share = float(mask.mean())
    except DatasetError as error:
        return _Checked(problem=str(error))
    return _Checked((image.shape[1], image.shape[0]), share, hash_image(image))


def hash_image(image: Image) -> NDArray[np.uint64]:
    """Return 512 bits, `(8,) uint64`, that near-duplicates share: where grey rises.

    The endoscope's field is reduced to 17x16, to compare each pixel with the one to its right, and
    to 16x17 for the one below. This is the difference hash (dHash, rows and columns) of
    https://github.com/benhoyt/dhash with 16 pixels a side.
    """
    field = cv2.cvtColor(crop(image, find_field(image).box), cv2.COLOR_BGR2GRAY)
    wide, high = (
        cv2.resize(field, size, interpolation=cv2.INTER_AREA)
        for size in ((HASH_SIDE + 1, HASH_SIDE), (HASH_SIDE, HASH_SIDE + 1))
    )
    rises = np.stack([wide[:, 1:] > wide[:, :-1], high[1:] > high[:-1]])
    return np.packbits(rises).view(np.uint64)


def _describe(members: Sequence[str], checked: dict[str, _Checked]) -> dict[str, Any]:
    found = [checked[name] for name in members]
    sizes = Counter(f"{one.size[0]}x{one.size[1]}" for one in found if one.size)
    shares = [one.share for one in found if one.size]
    problems = [one.problem for one in found if one.problem]
    problems += [f"{name} stands {n} times" for name, n in Counter(members).items() if n > 1]
    return {
        "images": len(members),
        "sizes": dict(sizes.most_common()),
        "lesion_share": {
            str(q): round(float(np.quantile(shares, q)), 5) for q in QUANTILES if shares
        },
        "empty_masks": sum(share == 0 for share in shares),
        "problems": problems,
    }


def _near_duplicates(checked: dict[str, _Checked]) -> list[tuple[str, str]]:
    """Return the pairs of names whose hashes nearly agree."""
    hashes = {name: one.bits for name, one in checked.items() if one.bits is not None}
    names, bits = list(hashes), np.array(list(hashes.values()))
    pairs = []
    for place, name in enumerate(names[:-1]):
        differ = np.bitwise_count(bits[place + 1 :] ^ bits[place]).sum(axis=1)
        alike = np.flatnonzero(differ <= ALIKE_BITS) + place + 1
        pairs += [(name, names[other]) for other in alike]
    return pairs


def _overlaps(
    names: dict[str, list[str]], groups: dict[str, str], alike: Sequence[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    """Yield what each two lists share, by kind; near-duplicates are of different groups."""
    lists_of = defaultdict(set)
    for split, members in names.items():
        for name in members:
            lists_of[name].add(split)
    near = defaultdict(list)
    for pair in alike:
        for one, other in (pair, pair[::-1]):
            for first in lists_of[one]:
                for second in lists_of[other]:
                    if first < second and groups[one] != groups[other]:
                        near[first, second].append([one, other])
    for first, second in combinations(names, 2):
        a, b = set(names[first]), set(names[second])
        both = {groups[name] for name in a - b} & {groups[name] for name in b - a}
        leak = first.endswith(TRAINING) != second.endswith(TRAINING)
        kinds: dict[str, list[Any]] = {
            "images": sorted(a & b),
            "groups": sorted(both),
            "near_duplicates": near[first, second],
        }
        for kind, found in kinds.items():
            if found:
                yield {"lists": [first, second], "kind": kind, "count": len(found), "leak": leak,
                       "found": found}  # fmt: skip
