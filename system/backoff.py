"""Computes pauses between attempts that double."""

import random
from dataclasses import dataclass

MAX_DOUBLINGS = 60
"""More doublings exceed any useful time, and 1,024 exceed the range of floating point."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Computes doubling pauses between the attempts of something that fails.

    Attributes:
        first_s, most_s: first pause and longest pause, seconds.
        jitter: share by which a pause is randomly longer or shorter. Clients that failed together
            then do not try again together.
    """

    first_s: float
    most_s: float
    jitter: float = 0.0

    def pause_s(self, failures: int) -> float:
        """Return the pause after `failures` (1 or more) in a row, in seconds."""
        pause_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, MAX_DOUBLINGS))
        return pause_s * random.uniform(1 - self.jitter, 1 + self.jitter)
