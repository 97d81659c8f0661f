"""What `bench/scaling.py` finds along an axis: rows by size, exponents, knees."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from support.recording import record_scene

Row = dict[str, str | float]
CLIP_FRAMES = 250


@dataclass(frozen=True)
class Given:
    """What every axis is given.

    Attributes:
        folder: for its files. frames: of a measurement.
        clip: the scene at 1080p and 25 frames/s, recorded when it is first asked for.
    """

    folder: Path
    frames: int

    @cached_property
    def clip(self) -> Path:
        return record_scene(self.folder / "clip.mp4", CLIP_FRAMES)


@dataclass(frozen=True, slots=True)
class Found:
    """Attributes:
    rows: ascending by size. costs: the columns that have an exponent.
    figures: others, by name. up_to: the greatest size that counts for exponents.
    """

    rows: list[Row]
    costs: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)
    up_to: float = math.inf

    def exponents(self) -> dict[str, float]:
        counted = [row for row in self.rows if float(row["size"]) <= self.up_to]
        slopes = {f"{self.rows[0]['axis']}_{cost}": exponent(counted, cost) for cost in self.costs}
        return {f"{name}_exponent": slope for name, slope in slopes.items() if slope is not None}


def exponent(rows: list[Row], cost: str) -> float | None:
    """None where there are not two sizes, or a cost is 0."""
    sizes = np.array([float(row["size"]) for row in rows])
    costs = np.array([float(row[cost]) for row in rows])
    if len(rows) < 2 or (costs <= 0).any():
        return None
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(costs), 1).convert().coef[1])


@dataclass(frozen=True, slots=True)
class Knee:
    """Attributes:
    kept: row of the greatest size that kept its bounds; None: not even the smallest did.
    missed: row of the next greater size that was tried.
    """

    kept: Row | None
    missed: Row

    def figures(self, name: str) -> dict[str, float]:
        """The size, 0 for none, the processors in use at it, and the size that did not keep."""
        at = self.kept or self.missed
        return {
            f"{name}_knee": float(self.kept["size"]) if self.kept else 0.0,
            f"{name}_knee_cores": float(at["cores"]),
            f"{name}_first_missed": float(self.missed["size"]),
        }


class Tried:
    """The rows of an axis; every size is measured once.

    Args:
        measure: gives the row of a size.
        sizes: to begin with.
    """

    def __init__(self, measure: Callable[[int], Row], sizes: Iterable[int]) -> None:
        self._measure = measure
        self._rows = {size: measure(size) for size in sizes}

    @property
    def rows(self) -> list[Row]:
        """Ascending by size."""
        return [self._rows[size] for size in sorted(self._rows)]

    def knee(self, kept: Callable[[Row], bool], near: float) -> Knee | None:
        """Bisect until the size that is not kept is at most `near` times the one that is.

        None where the greatest size is kept: the knee lies beyond what was tried.
        """
        last, missed = self._bracket(kept)
        while last and missed and (middle := _between(last, missed, near)):
            self._rows[middle] = self._measure(middle)
            last, missed = self._bracket(kept)
        return Knee(self._rows.get(last), self._rows[missed]) if missed else None

    def _bracket(self, kept: Callable[[Row], bool]) -> tuple[int, int]:
        """The greatest size that is kept and the next one; 0 where there is none."""
        last = max((size for size, row in self._rows.items() if kept(row)), default=0)
        return last, min((size for size in self._rows if size > last), default=0)


def _between(kept: int, missed: int, near: float) -> int | None:
    middle = round(math.sqrt(kept * missed))
    return middle if missed > near * kept and kept < middle < missed else None
