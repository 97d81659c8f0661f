"""Run lengths of masks as COCO stores them (Lin et al. 2014, `pycocotools`).

Pixels are counted down the columns, one column after the other: a run of 0, a run of 1, and
so on. In the compact form each run is written as the difference from the one two before
(from the fourth on), in groups of five bits, least first; the sixth bit says that more
follow, the fifth of the last group is the sign, and 48 is added to make it printable.
"""

import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Mask

GROUP_BITS, MORE, SIGN, FIRST_CHARACTER = 5, 0x20, 0x10, 48
UNCHANGED_RUNS = 3


def run_lengths(mask: Mask) -> NDArray[np.int64]:
    """Of `(H, W) uint8` of 0 and 1; the first run is of 0 and may be empty."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(edges)
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def compact(lengths: NDArray[np.int64]) -> str:
    """The printable form."""
    before = np.zeros_like(lengths)
    before[UNCHANGED_RUNS:] = lengths[UNCHANGED_RUNS - 2 : -2]
    return "".join(_groups(value) for value in (lengths - before).tolist())


def _groups(value: int) -> str:
    characters = []
    while True:
        group = value & (MORE - 1)
        value >>= GROUP_BITS
        more = value != (-1 if group & SIGN else 0)
        characters.append(chr((group | (MORE if more else 0)) + FIRST_CHARACTER))
        if not more:
            return "".join(characters)
