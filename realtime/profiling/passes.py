"""The passes of a profile: at the wanted rate, at full speed, and with allocations traced."""

import gc
import statistics
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, permutations

import numpy as np

from qlumen.errors import UsageError
from qlumen.realtime.engines.base import Engine, Ticket
from qlumen.realtime.latency import NullRecorder
from qlumen.realtime.profiling.intervals import Interval, ratio_interval
from qlumen.realtime.profiling.process import GcClock, Reading, rss_mib
from qlumen.realtime.profiling.recorder import ProfileRecorder
from qlumen.realtime.profiling.rig import Rig
from qlumen.realtime.profiling.spans import SpanLog

WARM_UP_FRAMES = 25
LEAST_STEADY_FRAMES = 20
FIRST_READ_NS, READ_AGAIN = 1_000_000_000, 1.25
MEMORY_EVERY_NS = 1_000_000_000
COOL_DOWN_FRAMES = 16
"""After the steady ones: while the last of those are finished, all threads are still at work."""
GRACE, GRACE_SECONDS = 1.5, 20.0
"""How much longer than planned a run may take that does not keep up with its rate: by this
factor, or by so many seconds, whichever is later."""
BLOCK_FRAMES_A_SECOND = 5
"""Of the pass: a longer profile has longer blocks."""
LEAST_BLOCK_FRAMES, MOST_BLOCK_FRAMES = 10, 50
LEAST_ROUNDS, MOST_ROUNDS = 6, 42
ALLOCATION_FRAMES = 30
ALLOCATION_WARM_UP_FRAMES = 10
SITES = 8
KIB = 1024


class Profiler:
    """All that is measured beside a run, or beside several that follow each other: spans, the
    garbage collector, and what the process used. Its memory does not grow with the run.

    Args:
        planned: steady frames, after those of the warm-up.
        budget_ns: of a frame's response.
        log: takes the spans of a trace.

    Attributes:
        before, after: what the process had used at the first steady frame, and at the last
            planned one, or before it in a run that ended early: a reading takes milliseconds,
            so they come a second after the first and then ever more seldom.
        frames: steady ones that were finished between those two.
        most_rss_mib: of these, and of memory alone, which is looked at every second.
    """

    before: Reading
    after: Reading

    def __init__(self, rig: Rig, planned: int, budget_ns: int, log: SpanLog | None) -> None:
        self._rig, self._planned = rig, planned
        self.gc = GcClock()
        first = rig.source.index + WARM_UP_FRAMES
        self.recorder = ProfileRecorder(
            range(first, first + planned), rig.source.due_ns, budget_ns, log, self.gc.between
        )
        self.frames = self._finished = 0
        self._next_ns: float = FIRST_READ_NS
        self._next_memory_ns = MEMORY_EVERY_NS
        self.most_rss_mib = 0.0

    def run(
        self,
        frames: int,
        on_frame: Callable[[int], None] = lambda done: None,
        *,
        fps: float | None = None,
        until_ns: int | None = None,
    ) -> None:
        """`Rig.run`, measured."""

        def read(done: int) -> None:
            self._read()
            on_frame(done)

        with self.gc:
            self._rig.run(self.recorder, frames, fps=fps, on_frame=read, until_ns=until_ns)
            self.recorder.settle()

    def _read(self) -> None:
        self._finished += 1
        steady = self._finished - WARM_UP_FRAMES
        if steady == 0:
            self.gc.reset()
            self.before = self._now()
        elif 0 < steady <= self._planned:
            passed_ns = time.monotonic_ns() - self.before.at_ns
            if steady == self._planned or passed_ns >= self._next_ns:
                self.after, self.frames = self._now(), steady
                self._next_ns = passed_ns * READ_AGAIN
            elif passed_ns >= self._next_memory_ns:
                self.most_rss_mib = max(self.most_rss_mib, rss_mib())
                self._next_memory_ns = passed_ns + MEMORY_EVERY_NS

    def _now(self) -> Reading:
        reading = Reading.now()
        self.most_rss_mib = max(self.most_rss_mib, reading.rss_mib)
        return reading


def steady_pass(
    rig: Rig, seconds: float, fps: float, budget_ns: int, log: SpanLog | None
) -> Profiler:
    """Run at the wanted rate; the first frames are warm-up. A run that does not keep up ends
    before all frames have come.

    Raises:
        UsageError: it ended within the warm-up.
    """
    planned = max(LEAST_STEADY_FRAMES, round(seconds * fps))
    planned_s = (WARM_UP_FRAMES + planned) / fps
    limit_s = max(planned_s * GRACE, planned_s + GRACE_SECONDS)
    profiler = Profiler(rig, planned, budget_ns, log)
    until_ns = time.monotonic_ns() + round(limit_s * 1e9)
    profiler.run(WARM_UP_FRAMES + planned + COOL_DOWN_FRAMES, fps=fps, until_ns=until_ns)
    if not profiler.frames:
        raise UsageError(
            f"after the {WARM_UP_FRAMES} frames of the warm-up too little was left of "
            f"{limit_s:.0f} s to measure; take more --seconds"
        )
    return profiler


@dataclass(frozen=True, slots=True)
class Capacity:
    """Frames per second, as fast as it goes: medians of rounds in changing order.

    Attributes:
        fps: the pipeline with the profiler on. fps_off: with no measuring at all.
        engine_fps: the network alone, with as many pictures in flight.
        profiler_cost: share of the throughput that the profiler takes.
        over_engine: `fps_off` over `engine_fps`.
    """

    fps: float
    fps_off: float
    engine_fps: float
    profiler_cost: Interval
    over_engine: Interval
    rounds: int


def capacity_pass(rig: Rig, seconds: float, *, traced: bool) -> Capacity:
    """Rounds of short runs: profiler on, as it is in a profile with or without a trace, off, and
    the engine alone; in all their orders by turns."""
    rates: dict[str, list[float]] = {"on": [], "off": [], "engine": []}
    # As in a profile, one for all frames: to begin one takes as long as ten frames.
    profiler = Profiler(rig, sys.maxsize - rig.source.index, 0, SpanLog() if traced else None)
    block = round(seconds * BLOCK_FRAMES_A_SECOND)
    block = min(MOST_BLOCK_FRAMES, max(LEAST_BLOCK_FRAMES, block))
    runs: dict[str, Callable[[Callable[[int], None]], object]] = {
        "on": lambda on_frame: profiler.run(block, on_frame),
        "off": lambda on_frame: rig.run(NullRecorder(), block, on_frame=on_frame),
        "engine": lambda on_frame: run_engine(rig.segmenter.engine, block, on_frame),
    }

    def rate(kind: str) -> float:
        at_ns: list[int] = []
        runs[kind](lambda done: at_ns.append(time.monotonic_ns()))
        # From the first finished frame to the last, without what it takes to begin and to end.
        return (len(at_ns) - 1) * 1e9 / (at_ns[-1] - at_ns[0])

    end = time.monotonic() + seconds
    for kind in rates:
        rate(kind)
    orders = cycle(permutations(rates))  # none always begins, none always follows the same
    while len(rates["on"]) < LEAST_ROUNDS or (
        time.monotonic() < end and len(rates["on"]) < MOST_ROUNDS
    ):
        for kind in next(orders):
            rates[kind].append(rate(kind))
    on, off, engine = rates["on"], rates["off"], rates["engine"]
    return Capacity(
        statistics.median(on), statistics.median(off), statistics.median(engine),
        ratio_interval(on, off).one_minus(), ratio_interval(off, engine), len(on),
    )  # fmt: skip


def run_engine(engine: Engine, frames: int, on_frame: Callable[[int], None]) -> None:
    """The engine alone on one picture, as many in flight as the pipeline keeps."""
    width, height = engine.input_size
    picture = np.full((height, width, 3), 127, np.uint8)
    flying: deque[Ticket] = deque()
    for number in range(frames + engine.requests):
        if number >= engine.requests:
            flying.popleft().result()
            on_frame(number - engine.requests + 1)
        if number < frames:
            flying.append(engine.submit(picture))


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of code that held more memory after the pass than before."""

    place: str
    kib: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Allocations:
    """Attributes:
    swing_kib: the most that was held at once between two frames over what was held after
        them, median.
    growth_kib: what is held after the pass over what was held before it, by frames; no frame
        is on its way then. sites: what held more memory afterwards, the largest first; pictures
        of a round that began meanwhile are among both.
    """

    frames: int
    swing_kib: float
    growth_kib: float
    sites: list[CodeLine]


def allocation_pass(rig: Rig) -> Allocations:
    """A short run with every allocation of Python and NumPy traced, which slows it a lot;
    nothing else is measured in it."""
    swings: list[int] = []

    def on_frame(done: int) -> None:
        level, peak = tracemalloc.get_traced_memory()
        swings.append(peak - level)
        tracemalloc.reset_peak()

    def take_snapshot_after_gc() -> tuple[int, tracemalloc.Snapshot]:
        gc.collect()
        return tracemalloc.get_traced_memory()[0], tracemalloc.take_snapshot()

    tracemalloc.start()
    try:
        rig.run(NullRecorder(), ALLOCATION_WARM_UP_FRAMES)
        level_before, before = take_snapshot_after_gc()
        tracemalloc.reset_peak()
        rig.run(NullRecorder(), ALLOCATION_FRAMES, on_frame=on_frame)
        level_after, after = take_snapshot_after_gc()
    finally:
        tracemalloc.stop()
    growth = (level_after - level_before) / ALLOCATION_FRAMES
    return Allocations(
        ALLOCATION_FRAMES, statistics.median(swings) / KIB, growth / KIB, _sites(before, after)
    )


def _sites(before: tracemalloc.Snapshot, after: tracemalloc.Snapshot) -> list[CodeLine]:
    ours = tracemalloc.Filter(False, tracemalloc.__file__)
    changes = after.filter_traces([ours]).compare_to(before.filter_traces([ours]), "lineno")
    grown = sorted((c for c in changes if c.size_diff > 0), key=lambda c: -c.size_diff)
    return [
        CodeLine(
            f"{c.traceback[0].filename}:{c.traceback[0].lineno}", c.size_diff / KIB, c.count_diff
        )
        for c in grown[:SITES]
    ]
