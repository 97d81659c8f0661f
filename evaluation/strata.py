"""Scores by the size of what was to be found."""

from collections.abc import Sequence
from typing import Any

from qlumen.evaluation.bootstrap import interval

SMALL_BELOW = 0.02
LARGE_FROM = 0.10
"""Shares of the frame that lesions cover: 5% of the training images lie below the first, and
about as many between the two as above."""
STRATA = ("none", "small", "medium", "large")


def stratum(area_share: float) -> str:
    """`none` without a lesion, `small` below 2% of the frame, `large` from 10% on."""
    if area_share <= 0:
        return "none"
    if area_share < SMALL_BELOW:
        return "small"
    return "large" if area_share >= LARGE_FROM else "medium"


def by_size(area_shares: Sequence[float], dice: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Number of images, mean Dice and its 95% interval in each stratum that occurs."""
    groups: dict[str, list[float]] = {name: [] for name in STRATA}
    for share, value in zip(area_shares, dice, strict=True):
        groups[stratum(share)].append(value)
    return {
        name: {
            "images": len(values),
            "dice": sum(values) / len(values),
            "dice_95": list(interval(values)),
        }
        for name, values in groups.items()
        if values
    }
