"""The spans of a run, for a trace: as many as fit, in arrays."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SPANS = 300_000
"""12 MB; 20 minutes at 25 frames/s."""


@dataclass(frozen=True, slots=True)
class Span:
    """Attributes:
    thread: the operating system's number of the thread that reported it.
    """

    stage: str
    frame: int
    begin_ns: int
    end_ns: int
    thread: int


class SpanLog:
    """Takes spans from one thread. What comes after `limit` spans is only counted.

    Attributes:
        left_out: how many those are. threads: the names of the spans' threads, by number.
    """

    def __init__(self, limit: int = MAX_SPANS) -> None:
        self._limit = limit
        self._stages: dict[str, int] = {}
        self._fields = array("q")
        self.left_out = 0
        self.threads: dict[int, str] = {}

    def add(self, stage: str, frame: int, begin_ns: int, end_ns: int, thread: int) -> None:
        if len(self._fields) >= 5 * self._limit:
            self.left_out += 1
            return
        number = self._stages.setdefault(stage, len(self._stages))
        self._fields.extend((number, frame, begin_ns, end_ns, thread))

    def __iter__(self) -> Iterator[Span]:
        """In the order of reports. For the end of the run."""
        stages = list(self._stages)
        for at in range(0, len(self._fields), 5):
            number, *others = self._fields[at : at + 5]
            yield Span(stages[number], *others)
