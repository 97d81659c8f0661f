"""Keeps the spans of a run in arrays, for a trace, up to a limit."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SPANS = 300_000
"""12 MB; 20 minutes at 25 frames/s."""


@dataclass(frozen=True, slots=True)
class Span:
    """Describes one report of a stage; `thread` is the system's number of its thread."""

    stage: str
    frame: int
    begin_ns: int
    end_ns: int
    thread: int


class SpanLog:
    """Takes spans from one thread; spans after the first `limit` are only counted.

    Attributes:
        left_out: number of spans that were only counted.
        threads: names of the reporting threads, by the system's number.
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
        """Yield the spans in the order of reports. Call this at the end of the run."""
        stages = list(self._stages)
        for at in range(0, len(self._fields), 5):
            number, *others = self._fields[at : at + 5]
            yield Span(stages[number], *others)
