"""Compares the outlines of annotators, and joins them."""

from collections.abc import Iterable, Sequence

import numpy as np

from qlumen.realtime.pixels.arrays import Mask


def compare(pairs: Iterable[tuple[Mask, Mask]]) -> tuple[int, float, float] | None:
    """Return how far two annotators agree; None without a pair.

    Args:
        pairs: outlines `(H, W)` of the frames that both outlined, not 0 on any lesion.

    Returns:
        Number of frames, mean Dice (1 where both are empty), and Cohen's kappa of all pixels.
    """
    scores, counts = [], np.zeros((2, 2))
    for a, b in ((one > 0, other > 0) for one, other in pairs):
        area = np.count_nonzero(a) + np.count_nonzero(b)
        scores.append(2 * np.count_nonzero(a & b) / area if area else 1.0)
        counts += [[np.sum(~a & ~b), np.sum(~a & b)], [np.sum(a & ~b), np.sum(a & b)]]
    if not scores:
        return None
    seen = float(np.trace(counts) / counts.sum())
    chance = float(counts.sum(0) @ counts.sum(1) / counts.sum() ** 2)
    return len(scores), float(np.mean(scores)), (seen - chance) / (1 - chance) if chance < 1 else 1


def join(outlines: Sequence[Mask]) -> Mask:
    """Return 1 at pixels `(H, W) uint8` that more than half of the outlines cover."""
    votes = np.sum([outline > 0 for outline in outlines], axis=0)
    return (2 * votes > len(outlines)).astype(np.uint8)
