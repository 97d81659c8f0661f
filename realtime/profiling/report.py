"""Builds the report of a profile, which `--json` writes and tables and pages show."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qlumen.realtime.latency import NS_PER_MS, QUEUED, LatencySummary
from qlumen.realtime.profiling.passes import Allocations, Capacity, Profiler
from qlumen.realtime.profiling.process import ThreadUse, peak_rss_mib, thread_uses
from qlumen.realtime.profiling.recorder import ProfileRecorder, Segment, SlowFrame
from qlumen.realtime.profiling.rig import Rig
from qlumen.system.machine import machine

FORMAT = "qlumen-profile/1"
MISSES_ALLOWED = 0.01
"""Share of frames that may take longer than the budget, so the percentile 99 decides."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """Describes a stage or a queue in the steady state; times are in milliseconds.

    Attributes:
        work: False for a queue.
        in_response: True if its time is part of the response; these parts are nearly all of it.
        mean: exact mean of the wall time.
        cpu_ms: processor time a frame of the stage's own thread.
        utilisation: share of the run in which the stage worked; mean length of a queue.
    """

    work: bool
    in_response: bool
    wall: LatencySummary
    mean: float
    cpu_ms: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class Cause:
    """Names the stage or queue of a slow frame that exceeds its own median most.

    Attributes:
        response_ms: time of the whole response.
        stage_ms, median_ms: time of the stage in this frame, and its median.
        collecting_ms: part of the response in which the garbage collector stopped all threads.
    """

    frame: int
    response_ms: float
    stage: str
    stage_ms: float
    median_ms: float
    collecting_ms: float


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Describes the start and the first `frames` frames, which the other figures leave out.

    Attributes:
        start_up_s: time by part until all was ready for the first frame.
        first_response_ms: response of the very first frame.
    """

    start_up_s: dict[str, float]
    first_response_ms: float
    frames: int
    stages_ms: dict[str, LatencySummary]


@dataclass(frozen=True, slots=True)
class Process:
    """Describes what the process used.

    Attributes:
        cpu_ms: processor time a frame, of all threads.
        cores: number of busy processors.
        waited_ms: wait a frame, of all threads; see `ThreadUse.waited_s`.
        rss_mib: memory at the first and last steady frame, and the sampled maximum.
        peak_rss_mib: peak since the process began.
        page_faults: faults a frame; each one asks the system for memory.
        gc_collections, gc_total_ms, gc_longest_ms: garbage collection, which stops all threads.
    """

    cpu_ms: float
    cores: float
    waited_ms: float
    rss_mib: tuple[float, float, float]
    peak_rss_mib: float
    page_faults: float
    gc_collections: int
    gc_total_ms: float
    gc_longest_ms: float
    threads: list[ThreadUse]


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """Holds all figures of a profile.

    Attributes:
        seconds: length of the steady state.
        fps, fps_reached: rate asked for, and frames over seconds.
        missed_share: share of frames whose response took longer than `budget_ms`.
        met: True if `missed_share` is at most `MISSES_ALLOWED`.
        segments_us: counts by duration, by part of the run and by stage.
    """

    format: str
    source: str
    size: tuple[int | None, int | None]
    recording: bool
    seconds: float
    frames: int
    fps: float
    fps_reached: float
    budget_ms: float
    missed: int
    missed_share: float
    met: bool
    stages: dict[str, StageReport]
    slowest: list[Cause]
    warm_up: WarmUp
    process: Process
    capacity: Capacity
    allocations: Allocations
    machine: dict[str, str | int]
    engine: dict[str, Any]
    bundle: dict[str, str]
    config_sha256: str
    segments_us: dict[str, list[Segment]]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """Holds the options of the command."""

    seconds: float
    fps: float
    budget_ms: float
    record: bool


def report_of(
    rig: Rig,
    request: ProfileRequest,
    steady: Profiler,
    capacity: Capacity,
    allocations: Allocations,
    config_sha256: str,
) -> ProfileReport:
    """Combine the results of the passes."""
    recorder = steady.recorder
    passed_ns = steady.after.at_ns - steady.before.at_ns
    stages = _stages(recorder, passed_ns / steady.frames)
    frames = recorder.steady_frames
    info, manifest = rig.source.info, rig.bundle.manifest
    return ProfileReport(
        format=FORMAT,
        source=rig.name,
        size=(info.width, info.height),
        recording=request.record,
        seconds=round(passed_ns / 1e9, 3),
        frames=frames,
        fps=request.fps,
        fps_reached=steady.frames * 1e9 / passed_ns,
        budget_ms=request.budget_ms,
        missed=recorder.misses,
        missed_share=recorder.misses / frames,
        met=recorder.misses <= MISSES_ALLOWED * frames,
        stages=stages,
        slowest=causes(recorder.slowest(), stages),
        warm_up=WarmUp(
            rig.start_up_s,
            (recorder.first_response_ns or 0) / NS_PER_MS,
            recorder.warm_up_frames,
            recorder.warm_up.summary(),
        ),
        process=_process(steady),
        capacity=capacity,
        allocations=allocations,
        machine=machine(),
        engine=rig.segmenter.engine.describe(),
        bundle={
            "name": manifest.name, "version": manifest.version, "sha256": rig.bundle.sha256
        },
        config_sha256=config_sha256,
        segments_us={name: kept.segments() for name, kept in recorder.accounts.items()},
    )  # fmt: skip


def causes(slowest: Sequence[SlowFrame], stages: dict[str, StageReport]) -> list[Cause]:
    """Find for each slow frame the stage or queue that exceeds its own median most."""
    found = []
    for slow in slowest:
        on_the_way = {name: ns / NS_PER_MS for name, ns in slow.spans_ns.items() if name in stages}
        if not on_the_way:
            continue
        stage = max(on_the_way, key=lambda name: on_the_way[name] - stages[name].wall.p50)
        found.append(
            Cause(
                slow.frame,
                slow.response_ns / NS_PER_MS,
                stage,
                on_the_way[stage],
                stages[stage].wall.p50,
                slow.collecting_ns / NS_PER_MS,
            )
        )
    return found


def is_work(stage: str) -> bool:
    return not stage.startswith(QUEUED)


def _stages(recorder: ProfileRecorder, frame_ns: float) -> dict[str, StageReport]:
    """Report each stage; `frame_ns` is the time that passed for each frame."""
    reports = {}
    for name, account in recorder.accounts.items():
        kept = account.histogram
        reports[name] = StageReport(
            is_work(name),
            name in recorder.response_parts,
            kept.summary(),
            kept.total_ns / kept.count / NS_PER_MS,
            account.cpu_ns / kept.count / NS_PER_MS,
            kept.total_ns / (recorder.steady_frames * frame_ns),
        )
    return reports


def _process(steady: Profiler) -> Process:
    before, after, clock = steady.before, steady.after, steady.gc
    frames, cpu_ns = steady.frames, after.cpu_ns - before.cpu_ns
    threads = thread_uses(before, after)
    return Process(
        cpu_ms=cpu_ns / frames / NS_PER_MS,
        cores=cpu_ns / (after.at_ns - before.at_ns),
        waited_ms=1000 * sum(use.waited_s for use in threads) / frames,
        rss_mib=(before.rss_mib, after.rss_mib, steady.most_rss_mib),
        peak_rss_mib=peak_rss_mib(),
        page_faults=(after.page_faults - before.page_faults) / frames,
        gc_collections=clock.collections,
        gc_total_ms=clock.total_ns / NS_PER_MS,
        gc_longest_ms=clock.longest_ns / NS_PER_MS,
        threads=threads,
    )
