"""Runs the passes of a profile: at a wanted rate, at full speed, and with traced allocations."""

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
"""Frames after the steady ones. They keep all threads at work until the last steady one ends."""
GRACE, GRACE_SECONDS = 1.5, 20.0
"""A run that does not keep up with its rate may take longer than planned: by this factor or by
this number of seconds, whichever is later."""
BLOCK_FRAMES_A_SECOND = 5
"""Frames of a block per second of the pass: a longer profile has longer blocks."""
LEAST_BLOCK_FRAMES, MOST_BLOCK_FRAMES = 10, 50
LEAST_ROUNDS, MOST_ROUNDS = 6, 42
ALLOCATION_FRAMES = 30
ALLOCATION_WARM_UP_FRAMES = 10
SITES = 8
KIB = 1024


class Profiler:
    """Measures spans, garbage collection and the process in runs; its memory does not grow.

    Args:
        planned: number of steady frames after the warm-up.
        budget_ns: time that a frame's response may take.
        log: takes the spans of a trace.

    Attributes:
        before, after: readings of the process at the first steady frame and at the last planned
            one. In a run that ends early, `after` is an earlier reading. A reading takes
            milliseconds: the second one comes a second after the first, the others ever later.
        frames: steady frames that were finished between these two readings.
        most_rss_mib: the most memory of all readings and of a look at memory alone every second.
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
        """Call `Rig.run` and measure it."""

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
    """Run at the wanted rate, first for the warm-up; a run that does not keep up ends early.

    Raises:
        UsageError: the run ended within the warm-up.
    """
    planned = max(LEAST_STEADY_FRAMES, round(seconds * fps))
    planned_s = (WARM_UP_FRAMES + planned) / fps
    limit_s = max(planned_s * GRACE, planned_s + GRACE_SECONDS)
    profiler = Profiler(rig, planned, budget_ns, log)
    until_ns = time.monotonic_ns() + round(limit_s * 1e9)
    profiler.run(WARM_UP_FRAMES + planned + COOL_DOWN_FRAMES, fps=fps, until_ns=until_ns)
    if not profiler.frames:
        raise UsageError(
            f"the {WARM_UP_FRAMES} frames of the warm-up left too little of {limit_s:.0f} s to "
            "measure; take more --seconds"
        )
    return profiler


@dataclass(frozen=True, slots=True)
class Capacity:
    """Holds frames per second at full speed: medians of rounds in changing order.

    Attributes:
        fps, fps_off: rate of the pipeline with the profiler, and without any measurement.
        engine_fps: rate of the network alone, with the same number of frames in flight.
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
    """Measure rounds of short runs in changing order: profiler on, profiler off, engine alone.
    With `traced`, the profiler also keeps the spans of a trace."""
    rates: dict[str, list[float]] = {"on": [], "off": [], "engine": []}
    # One profiler for all frames, as in a profile: its start takes as long as ten frames.
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
        # From the first finished frame to the last, without the start and the end of a run.
        return (len(at_ns) - 1) * 1e9 / (at_ns[-1] - at_ns[0])

    end = time.monotonic() + seconds
    for kind in rates:
        rate(kind)
    orders = cycle(permutations(rates))  # each one begins, and follows each other one
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
    """Run the engine alone on one image, with as many in flight as the pipeline keeps."""
    width, height = engine.input_size
    image = np.full((height, width, 3), 127, np.uint8)
    flying: deque[Ticket] = deque()
    for number in range(frames + engine.requests):
        if number >= engine.requests:
            flying.popleft().result()
            on_frame(number - engine.requests + 1)
        if number < frames:
            flying.append(engine.submit(image))


@dataclass(frozen=True, slots=True)
class CodeLine:
    """Describes a line of code that held more memory after the pass than before."""

    place: str
    kib: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Allocations:
    """Holds the memory that the pass allocated.

    `growth_kib` and `sites` also count frames of a round that began during the pass.

    Attributes:
        swing_kib: peak between two frames above the level after them, median.
        growth_kib: memory held after the pass minus memory held before it, for each frame; no
            frame is on its way at either time.
        sites: code lines that held more memory after the pass, the largest first.
    """

    frames: int
    swing_kib: float
    growth_kib: float
    sites: list[CodeLine]


def allocation_pass(rig: Rig) -> Allocations:
    """Run briefly with every allocation of Python and NumPy traced. This slows the run a lot,
    so nothing else is measured in it."""
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
