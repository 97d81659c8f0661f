"""The account of a profile: what `--json` writes, and what tables and pages show."""

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
"""Share of frames that may take longer than the budget: its verdict is on the percentile 99."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """Milliseconds of wall time; `mean` is exact. `cpu_ms` is processor time a frame of the
    stage's own thread, `utilisation` the share of the run that the stage was at work or, of
    a queue, mean number of frames in it. `work` is False of a queue. `in_response`: its time is
    a part of the response; those parts add up to nearly all of it."""

    work: bool
    in_response: bool
    wall: LatencySummary
    mean: float
    cpu_ms: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class Cause:
    """Of a slow frame: the stage or queue that grew most against its median.

    Attributes:
        response_ms: the frame's whole time. stage: what grew. stage_ms: what it took.
        median_ms: what it takes mostly. collecting_ms: of the whole time, while the garbage
        collector had all threads stand still.
    """

    frame: int
    response_ms: float
    stage: str
    stage_ms: float
    median_ms: float
    collecting_ms: float


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Attributes:
    start_up_s: by part, until all was ready for the first frame.
    first_response_ms: of the first frame of all.
    stages_ms: of the first `frames` frames, which the other figures leave out.
    """

    start_up_s: dict[str, float]
    first_response_ms: float
    frames: int
    stages_ms: dict[str, LatencySummary]


@dataclass(frozen=True, slots=True)
class Process:
    """Attributes:
    cpu_ms: a frame, all threads. cores: processors kept busy.
    waited_ms: a frame, all threads; see `ThreadUse.waited_s`.
    rss_mib: at the first and last steady frame and the most in between, sampled;
    peak_rss_mib: since the process began.
    page_faults: a frame; each is memory asked of the system.
    gc_*: of the garbage collector, which stops all threads.
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
    """Attributes:
    seconds: of the steady state. fps: asked for; fps_reached: frames over seconds.
    missed_share: of frames whose response took longer than `budget_ms`.
    met: whether no more than `MISSES_ALLOWED` of them did.
    segments_us: by stage, durations and how often they occurred, by part of the run.
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
    """What was asked for."""

    seconds: float
    fps: float
    budget_ms: float
    record: bool


def report_of(
    rig: Rig,
    wish: ProfileRequest,
    steady: Profiler,
    capacity: Capacity,
    allocations: Allocations,
    config_sha256: str,
) -> ProfileReport:
    """Put together what the passes found."""
    recorder = steady.recorder
    passed_ns = steady.after.at_ns - steady.before.at_ns
    stages = _stages(recorder, passed_ns / steady.frames)
    frames = recorder.steady_frames
    info, manifest = rig.source.info, rig.bundle.manifest
    return ProfileReport(
        format=FORMAT,
        source=rig.name,
        size=(info.width, info.height),
        recording=wish.record,
        seconds=round(passed_ns / 1e9, 3),
        frames=frames,
        fps=wish.fps,
        fps_reached=steady.frames * 1e9 / passed_ns,
        budget_ms=wish.budget_ms,
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
    """For each slow frame the stage or queue that exceeds its own median most."""
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
    """`frame_ns`: time that passed for each frame."""
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
