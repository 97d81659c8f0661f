"""Measures an axis of `bench/scaling.py`: rows by size, exponents, knees."""

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
class Setup:
    """Holds a folder for the files of an axis, and the number of frames of a measurement."""

    folder: Path
    frames: int

    @cached_property
    def clip(self) -> Path:
        """Record the scene at 1080p and 25 frames/s at the first use."""
        return record_scene(self.folder / "clip.mp4", CLIP_FRAMES)


@dataclass(frozen=True, slots=True)
class AxisResult:
    """Holds the rows of an axis, ascending by size, and its figures.

    Attributes:
        costs: columns that have an exponent.
        figures: other figures by name.
        up_to: greatest size that counts for exponents.
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
    """Return the exponent of a cost; None with fewer than two sizes, or a cost of 0."""
    sizes = np.array([float(row["size"]) for row in rows])
    costs = np.array([float(row[cost]) for row in rows])
    if len(rows) < 2 or (costs <= 0).any():
        return None
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(costs), 1).convert().coef[1])


@dataclass(frozen=True, slots=True)
class Knee:
    """Holds the row of the greatest kept size, None if no size was kept, and the next row."""

    kept: Row | None
    missed: Row

    def figures(self, name: str) -> dict[str, float]:
        """Return the kept size (0: no size), its busy processors, and the first missed size."""
        at = self.kept or self.missed
        return {
            f"{name}_knee": float(self.kept["size"]) if self.kept else 0.0,
            f"{name}_knee_cores": float(at["cores"]),
            f"{name}_first_missed": float(self.missed["size"]),
        }


class Trials:
    """Measures every size of an axis once: first `sizes`, then those that a knee needs."""

    def __init__(self, measure: Callable[[int], Row], sizes: Iterable[int]) -> None:
        self._measure = measure
        self._rows = {size: measure(size) for size in sizes}

    @property
    def rows(self) -> list[Row]:
        """Return the rows, ascending by size."""
        return [self._rows[size] for size in sorted(self._rows)]

    def knee(self, kept: Callable[[Row], bool], near: float) -> Knee | None:
        """Bisect until the first missed size is at most `near` times the greatest kept one.

        None where the greatest size is kept: the knee lies beyond all sizes.
        """
        last, missed = self._bracket(kept)
        while last and missed and (middle := _between(last, missed, near)):
            self._rows[middle] = self._measure(middle)
            last, missed = self._bracket(kept)
        return Knee(self._rows.get(last), self._rows[missed]) if missed else None

    def _bracket(self, kept: Callable[[Row], bool]) -> tuple[int, int]:
        """Return the greatest kept size and the next one; 0 where there is no such size."""
        last = max((size for size, row in self._rows.items() if kept(row)), default=0)
        return last, min((size for size in self._rows if size > last), default=0)


def _between(kept: int, missed: int, near: float) -> int | None:
    middle = round(math.sqrt(kept * missed))
    return middle if missed > near * kept and kept < middle < missed else None
