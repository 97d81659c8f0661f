"""Chooses when things come into the way, and for how long."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

VISITS_STREAM = 7
"""Random stream of a seed, after those of `world.make_world` and `obstacles`."""


@dataclass(frozen=True, slots=True)
class Habit:
    """Describes how often a thing comes: at most once in each window of time.

    Attributes:
        every_s: length of a window in seconds.
        chance: share of the windows in which it comes.
        lasts_s: shortest and longest stay in seconds, not above `every_s`.
    """

    every_s: float
    chance: float
    lasts_s: tuple[float, float]


INSTRUMENT = Habit(13.0, 0.75, (5.0, 9.0))
WASH = Habit(9.0, 0.75, (4.0, 6.0))
LENS_BUBBLES = Habit(17.0, 0.6, (3.0, 7.0))
CAP = Habit(40.0, 0.6, (10.0, 18.0))
LIGHT = Habit(8.0, 0.75, (1.5, 4.0))
HABITS = (INSTRUMENT, WASH, LENS_BUBBLES, CAP, LIGHT)


@dataclass(frozen=True, slots=True)
class Visit:
    """Describes a thing that is in the way now.

    Attributes:
        age_s, left_s: seconds since it came, and until it goes.
        rng: its own random numbers, the same at each of its moments.
    """

    age_s: float
    left_s: float
    rng: np.random.Generator

    def share(self, fade_s: float) -> float:
        """Return 0 to 1: smooth over `fade_s` seconds at both ends."""
        near = min(max(min(self.age_s, self.left_s) / fade_s, 0.0), 1.0)
        return near * near * (3 - 2 * near)


def find_visit(seed: int, habit: Habit, second: float) -> Visit | None:
    """Return what a habit brings at a moment, or None; it depends on the arguments alone."""
    window = int(second // habit.every_s)
    stay = _stay(seed, habit, window)
    if stay is None or not stay[0] <= second <= stay[1]:
        return None
    rng = np.random.default_rng((seed, VISITS_STREAM, HABITS.index(habit), window, 1))
    return Visit(second - stay[0], stay[1] - second, rng)


@lru_cache(maxsize=256)
def _stay(seed: int, habit: Habit, window: int) -> tuple[float, float] | None:
    """Return the first and the last second of a habit's visit in a window."""
    rng = np.random.default_rng((seed, VISITS_STREAM, HABITS.index(habit), window, 0))
    lasts = rng.uniform(*habit.lasts_s)
    first = window * habit.every_s + rng.uniform(0, habit.every_s - lasts)
    return (first, first + lasts) if rng.random() < habit.chance else None
