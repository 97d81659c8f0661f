"""The passes of a profile: at the wanted rate, at full speed, and with allocations traced."""

import statistics
import sys
import time
import tracemalloc
from collections import deque
from dataclasses import dataclass

import numpy as np

from qlumen.realtime.engines.base import Ticket
from qlumen.realtime.errors import UsageError
from qlumen.realtime.latency import NullRecorder
from qlumen.realtime.profiling.intervals import Interval, ratio_interval
from qlumen.realtime.profiling.process import GcClock, Reading
from qlumen.realtime.profiling.recorder import ProfileRecorder
from qlumen.realtime.profiling.rig import Rig
from qlumen.realtime.profiling.spans import SpanLog

WARM_UP_FRAMES = 25
LEAST_STEADY_FRAMES = 20
COOL_DOWN_FRAMES = 16
"""After the steady ones: while the last of those are finished, all threads are still at work."""
GRACE, GRACE_SECONDS = 1.5, 20.0
"""How much longer than planned a run may take that does not keep up with its rate: by this
factor, or by so many seconds, whichever is later."""
BLOCK_FRAMES_A_SECOND = 5
"""Of the pass: a longer profile has longer blocks."""
LEAST_BLOCK_FRAMES, MOST_BLOCK_FRAMES = 10, 50
LEAST_ROUNDS, MOST_ROUNDS = 4, 40
ALLOCATION_FRAMES = 30
ALLOCATION_WARM_UP_FRAMES = 10
SITES = 8
KIB = 1024


@dataclass(slots=True)
class SteadyPass:
    """Attributes:
    before, after: readings at the first steady frame and at the end.
    rss_mib: sampled once a second of video, in order.
    """

    recorder: ProfileRecorder
    gc: GcClock
    before: Reading
    after: Reading
    rss_mib: list[float]


def steady_pass(
    rig: Rig, seconds: float, fps: float, budget_ns: int, log: SpanLog | None
) -> SteadyPass:
    """Run at the wanted rate; the first frames are warm-up.

    Raises:
        UsageError: too few frames came in that time to tell anything.
    """
    first = rig.source.index + WARM_UP_FRAMES
    planned = max(LEAST_STEADY_FRAMES, round(seconds * fps))
    recorder = ProfileRecorder(range(first, first + planned), rig.source.due_ns, budget_ns, log)
    readings: list[Reading] = []
    with GcClock() as clock:

        def on_frame(done: int) -> None:
            steady = done - WARM_UP_FRAMES
            if steady == 0:
                clock.reset()
            if 0 <= steady <= planned and (steady % max(1, round(fps)) == 0 or steady == planned):
                readings.append(Reading.now())

        planned_s = WARM_UP_FRAMES / fps + seconds
        limit_s = max(planned_s * GRACE, planned_s + GRACE_SECONDS)
        limit_ns = time.monotonic_ns() + round(limit_s * 1e9)
        frames = WARM_UP_FRAMES + planned + COOL_DOWN_FRAMES
        rig.run(recorder, frames, fps=fps, on_frame=on_frame, until_ns=limit_ns)
    if recorder.steady_frames < LEAST_STEADY_FRAMES or len(readings) < 2:
        raise UsageError(
            f"only {recorder.steady_frames} frames came after the warm-up, in {limit_s:.0f} s; "
            "take more --seconds"
        )
    rss_mib = [reading.rss_mib for reading in readings]
    return SteadyPass(recorder, clock, readings[0], readings[-1], rss_mib)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Frames per second, as fast as it goes: medians of rounds in alternating order.

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
    the engine alone; their order alternates."""
    rates: dict[str, list[float]] = {"on": [], "off": [], "engine": []}
    # As in a profile, one recorder for all frames: to begin one takes as long as ten frames.
    frames, log = range(rig.source.index, sys.maxsize), SpanLog() if traced else None
    profiler = ProfileRecorder(frames, rig.source.due_ns, 0, log)
    block = round(seconds * BLOCK_FRAMES_A_SECOND)
    block = min(MOST_BLOCK_FRAMES, max(LEAST_BLOCK_FRAMES, block))

    def run(kind: str) -> float:
        if kind == "engine":
            return engine_fps(rig, block)
        outcome = rig.run(profiler if kind == "on" else NullRecorder(), block)
        return outcome.frames / outcome.seconds

    end = time.monotonic() + seconds
    for kind in rates:
        run(kind)
    while len(rates["on"]) < LEAST_ROUNDS or (
        time.monotonic() < end and len(rates["on"]) < MOST_ROUNDS
    ):
        order = list(rates) if len(rates["on"]) % 2 else list(rates)[::-1]
        for kind in order:
            rates[kind].append(run(kind))
    on, off, engine = rates["on"], rates["off"], rates["engine"]
    return Capacity(
        statistics.median(on), statistics.median(off), statistics.median(engine),
        ratio_interval(on, off).one_minus(), ratio_interval(off, engine), len(on),
    )  # fmt: skip


def engine_fps(rig: Rig, frames: int) -> float:
    """The engine alone on one picture, as many in flight as the pipeline keeps."""
    engine = rig.segmenter.engine
    width, height = engine.input_size
    picture = np.full((height, width, 3), 127, np.uint8)
    flying: deque[Ticket] = deque()
    started = time.monotonic()
    for _ in range(frames):
        if len(flying) == engine.requests:
            flying.popleft().result()
        flying.append(engine.submit(picture))
    while flying:
        flying.popleft().result()
    return frames / (time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class Site:
    """A line of code that held more memory after the pass than before."""

    place: str
    kib: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Allocations:
    """Attributes:
    swing_kib: most memory that was taken and given back between two frames, median.
    growth_kib: kept from one frame to the next, median. sites: what held more memory
    afterwards, the largest first; pictures of a round that began meanwhile are among it.
    """

    frames: int
    swing_kib: float
    growth_kib: float
    sites: list[Site]


def allocation_pass(rig: Rig) -> Allocations:
    """A short run with every allocation of Python and NumPy traced, which slows it a lot;
    nothing else is measured in it."""
    swings: list[int] = []
    levels: list[int] = []

    def on_frame(done: int) -> None:
        level, peak = tracemalloc.get_traced_memory()
        swings.append(peak - level)
        levels.append(level)
        tracemalloc.reset_peak()

    tracemalloc.start()
    try:
        rig.run(NullRecorder(), ALLOCATION_WARM_UP_FRAMES)
        before = tracemalloc.take_snapshot()
        tracemalloc.reset_peak()
        rig.run(NullRecorder(), ALLOCATION_FRAMES, on_frame=on_frame)
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    growth = statistics.median(np.diff(levels).tolist()) / KIB
    return Allocations(
        ALLOCATION_FRAMES, statistics.median(swings) / KIB, growth, _sites(before, after)
    )


def _sites(before: tracemalloc.Snapshot, after: tracemalloc.Snapshot) -> list[Site]:
    ours = tracemalloc.Filter(False, tracemalloc.__file__)
    changes = after.filter_traces([ours]).compare_to(before.filter_traces([ours]), "lineno")
    grown = sorted((c for c in changes if c.size_diff > 0), key=lambda c: -c.size_diff)
    return [
        Site(f"{c.traceback[0].filename}:{c.traceback[0].lineno}", c.size_diff / KIB, c.count_diff)
        for c in grown[:SITES]
    ]
