"""Collects durations, processor time, the slowest frames and the trace of a profiled run."""

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from qlumen.realtime.latency import (
    END_TO_END,
    QUEUED,
    DurationHistogram,
    LatencyRecorder,
    bin_values_us,
)
from qlumen.realtime.profiling.process import name_this_thread
from qlumen.realtime.profiling.spans import SpanLog

DECODE = "decode"
RESPONSE = "response"
"""The time from the moment a frame is due until its overlay is drawn; it includes decoding."""
SLOWEST = 10
REPORTS = 256
"""Spans are counted in groups of this number: about 25 frames in less than a millisecond.
Counted one by one, between the work of the stages, they take several times as long."""
SEGMENTS = 20
"""Parts of the run that are kept separately. The interval of a figure is drawn from them."""
MISSED = "deadline missed"
"""In a trace, marks the moment at which a steady frame that took too long was drawn."""

Segment = dict[int, int]
"""Maps a duration in microseconds to the number of times that it occurred."""


class SlowFrame(NamedTuple):
    """Describes one of the slowest frames.

    Attributes:
        response_ns: time of the whole response.
        frame: index of the frame.
        collecting_ns: part of that time in which the garbage collector stopped all threads.
        spans_ns: time by stage and queue.
    """

    response_ns: int
    frame: int
    collecting_ns: int
    spans_ns: dict[str, int]


def merge(segments: Iterable[Segment]) -> Segment:
    """Add the counts of all segments."""
    counts: Counter[int] = Counter()
    for segment in segments:
        counts.update(segment)
    return dict(counts)


class StageAccount:
    """Counts the durations of one stage, in all and by segment, and its processor time."""

    def __init__(self) -> None:
        self.histogram = DurationHistogram()
        self.cpu_ns = 0
        self._current = 0
        self._done: dict[int, Counter[int]] = {}
        self._before = self.histogram.counts()

    def add(self, segment: int, duration_ns: int, cpu_ns: int) -> None:
        if segment != self._current:
            self._close_segment()
            self._current = segment
        self.histogram.add(duration_ns)
        self.cpu_ns += cpu_ns

    def segments(self) -> list[Segment]:
        """Return the segments that are not empty, in order. Call this at the end of the run."""
        self._close_segment()
        return [dict(self._done[index]) for index in sorted(self._done) if self._done[index]]

    def _close_segment(self) -> None:
        counts = self.histogram.counts()
        added = counts - self._before
        places = np.flatnonzero(added)
        values = bin_values_us()[places].astype(np.int64).tolist()
        counted = dict(zip(values, added[places].tolist(), strict=True))
        self._done.setdefault(self._current, Counter()).update(counted)
        self._before = counts


class _Thread(threading.local):
    """Describes the thread that reads it.

    Attributes:
        number: the system's number of the thread.
        cpu_ns: processor time of the thread at its last report.
    """

    def __init__(self, log: SpanLog | None) -> None:
        name = threading.current_thread().name
        if threading.current_thread() is not threading.main_thread():  # its name is the program's
            name_this_thread(name)
        self.number, self.cpu_ns = threading.get_native_id(), time.thread_time_ns()
        if log is not None:
            log.threads[self.number] = name


class ProfileRecorder(LatencyRecorder):
    """Separates warm-up from steady state by the indices of frames; later frames are left out.

    Threads only note their spans. The thread that ends frames counts them in groups. `settle`
    counts the rest; until then the attributes are incomplete.

    Processor time is the time of the reporting thread since its last report. It includes the
    work of the pipeline between two stages, but not the counting.

    Args:
        steady: indices of the steady frames; earlier frames are warm-up.
        due_ns: function that returns when a frame was due, or None.
        budget_ns: longest response that is no miss.
        log: takes the spans of a trace; None for no trace.
        collecting_ns: function that returns the time of garbage collection between two moments.
    """

    def __init__(
        self,
        steady: range,
        due_ns: Callable[[int], int | None],
        budget_ns: int,
        log: SpanLog | None = None,
        collecting_ns: Callable[[int, int], int] = lambda begin_ns, end_ns: 0,
    ) -> None:
        super().__init__()
        self._steady, self._due_ns, self._budget_ns, self._log = steady, due_ns, budget_ns, log
        self._collecting_ns = collecting_ns
        self.warm_up = LatencyRecorder()
        self.first_response_ns: int | None = None
        self.accounts: dict[str, StageAccount] = {}
        self.misses = 0
        self.response_parts: dict[str, None] = {}
        self._thread = _Thread(log)
        self._reports: deque[tuple[str, int, int, int, int, int]] = deque()
        self._on_their_way: dict[int, dict[str, int]] = {}
        self._slowest: list[SlowFrame] = []
        bin_values_us()  # takes 20 ms once, which no frame must pay for

    def span(self, stage: str, frame: int, begin_ns: int, end_ns: int) -> None:
        thread = self._thread
        before_ns = thread.cpu_ns  # a new thread begins here
        thread.cpu_ns = time.thread_time_ns()
        cpu_ns = thread.cpu_ns - before_ns
        self._reports.append((stage, frame, begin_ns, end_ns, thread.number, cpu_ns))
        if stage == END_TO_END and len(self._reports) >= REPORTS:
            self.settle()
            thread.cpu_ns = time.thread_time_ns()

    def settle(self) -> None:
        """Count all noted spans. Call this in one thread at a time; others may report."""
        for _ in range(len(self._reports)):
            self._count(*self._reports.popleft())

    @property
    def steady_frames(self) -> int:
        """Return the number of finished steady frames."""
        account = self.accounts.get(RESPONSE)
        return account.histogram.count if account else 0

    @property
    def warm_up_frames(self) -> int:
        response = self.warm_up.stages().get(RESPONSE)
        return response.count if response else 0

    def slowest(self) -> list[SlowFrame]:
        """Return the steady frames with the longest responses, the longest first."""
        return sorted(self._slowest, reverse=True)

    def _count(
        self, stage: str, frame: int, begin_ns: int, end_ns: int, thread: int, cpu_ns: int
    ) -> None:
        due_ns = self._due_ns(frame) if stage in (DECODE, END_TO_END) else None
        if stage == DECODE:
            self._on_their_way[frame] = {}
            if due_ns is not None:
                begin_ns = max(due_ns, begin_ns)  # before it was due, the reader slept
                self._take(QUEUED + DECODE, frame, due_ns, begin_ns, thread, 0)
        self._take(stage, frame, begin_ns, end_ns, thread, cpu_ns)
        if stage == END_TO_END:
            decode_ns = self._on_their_way.get(frame, {}).get(DECODE, 0)
            begun_ns = begin_ns - decode_ns if due_ns is None else due_ns
            self._respond(frame, begun_ns, end_ns, thread)

    def _take(
        self, stage: str, frame: int, begin_ns: int, end_ns: int, thread: int, cpu_ns: int
    ) -> None:
        spans = self._on_their_way.get(frame)
        if spans is not None and stage != END_TO_END:
            spans[stage] = end_ns - begin_ns
        if self._log is not None and end_ns > begin_ns:
            self._log.add(stage, frame, begin_ns, end_ns, thread)
        if frame < self._steady.start:
            self.warm_up.add(stage, end_ns - begin_ns)
        elif frame in self._steady:
            segment = (frame - self._steady.start) * SEGMENTS // len(self._steady)
            if stage not in self.accounts:
                self.accounts[stage] = StageAccount()
            self.accounts[stage].add(segment, end_ns - begin_ns, cpu_ns)

    def _respond(self, frame: int, begin_ns: int, end_ns: int, thread: int) -> None:
        took_ns = end_ns - begin_ns
        self._take(RESPONSE, frame, begin_ns, end_ns, thread, 0)
        spans = self._on_their_way.pop(frame, {})
        spans.pop(RESPONSE, None)
        if self.first_response_ns is None:
            self.first_response_ns = took_ns
        if frame not in self._steady:
            return
        if took_ns > self._budget_ns:
            self.misses += 1
            if self._log is not None:
                self._log.add(MISSED, frame, end_ns, end_ns, thread)
        self.response_parts.update(dict.fromkeys(spans))
        if len(self._slowest) < SLOWEST or took_ns > self._slowest[0].response_ns:
            collecting_ns = self._collecting_ns(begin_ns, end_ns)
            heapq.heappush(self._slowest, SlowFrame(took_ns, frame, collecting_ns, spans))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)
