"""Summarises a live session, as JSON for machines and as a table for people."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.latency import LatencyRecorder, LatencySummary, latency_table
from qlumen.realtime.live.counters import ANNOTATION_AGE, RAW_DELAY
from qlumen.realtime.live.pipeline import LiveOutcome
from qlumen.realtime.live.stage import MONITOR
from qlumen.realtime.live.status import LiveStatus


@dataclass(frozen=True, slots=True)
class LiveSummary:
    """Summarises a session that has ended.

    Attributes:
        arrived, shown: frames from the source, and frames handed to every sink.
        fresh: frames shown with findings of their own or of the frame before.
        no_signal: frames shown again while the source delivered nothing.
        late_source, damaged: frames that a played source made too late, and with missing data.
        states: shown frames by the state of the AI: on, late, off.
        raw_delay_ms: time from a frame complete in memory until all sinks have it, drawn.
        annotation_age_ms: time from the grab of the annotated frame until its findings are shown.
        histograms: histograms of these two, as `DurationHistogram.encode` gives them.
        drops: frames not shown or not written, by cause; `model_busy`: shown, not seen by the AI.
        written: frames by sink.
        missed_deadlines: frames that took the network longer than `watchdog.deadline_ms`.
        cpu_seconds: processor time of the whole process while the session ran.
        realtime: whether grabber and display had real-time priority.
        events_sha256: hash of the last line of the events, for `qlumen verify --last`.
    """

    source: str
    seconds: float
    arrived: int
    shown: int
    fresh: int
    no_signal: int
    late_source: int
    damaged: int
    states: dict[str, int]
    raw_delay_ms: LatencySummary | None
    annotation_age_ms: LatencySummary | None
    stages_ms: dict[str, LatencySummary]
    histograms: dict[str, str]
    drops: dict[str, int]
    written: dict[str, int]
    missed_deadlines: int
    ai_restarts: int
    cpu_seconds: float
    error: str | None
    notes: list[str]
    engine: dict[str, Any]
    bundle: dict[str, str]
    config_sha256: str
    realtime: bool
    events_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(
    outcome: LiveOutcome,
    status: LiveStatus,
    latency: LatencyRecorder,
    bundle: Bundle,
    settings: Settings,
) -> LiveSummary:
    """Summarise an ended session; `status` is its last one."""
    stages, kept = latency.summary(), latency.stages()
    # An incomplete recording, stream or log is an error. A closed window is not.
    broken = ", ".join(name for name in status.detached if name != MONITOR)
    return LiveSummary(
        source=status.source,
        seconds=round(outcome.seconds, 3),
        arrived=status.arrived,
        shown=status.shown,
        fresh=status.fresh,
        no_signal=status.no_signal,
        late_source=status.late_source,
        damaged=status.damaged,
        states={state.value: count for state, count in status.states.items() if count},
        raw_delay_ms=stages.pop(RAW_DELAY, None),
        annotation_age_ms=stages.pop(ANNOTATION_AGE, None),
        stages_ms=stages,
        histograms={n: kept[n].encode() for n in (RAW_DELAY, ANNOTATION_AGE) if n in kept},
        drops=status.lost,
        written=dict(status.written),
        missed_deadlines=status.missed_deadlines,
        ai_restarts=status.ai_restarts,
        cpu_seconds=round(outcome.cpu_seconds, 3),
        error=outcome.error or (f"incomplete outputs: {broken}" if broken else None),
        notes=list(status.notes),
        engine=dict(status.engine),
        bundle={
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "sha256": bundle.sha256,
        },
        config_sha256=settings.sha256(),
        realtime=outcome.realtime,
    )


def print_summary(summary: LiveSummary, console: Console) -> None:
    """Print the latency table, then one line each on frames, drops and notes."""
    rows = dict(summary.stages_ms)
    if summary.raw_delay_ms:
        rows["raw delay"] = summary.raw_delay_ms
    if summary.annotation_age_ms:
        rows["annotation age"] = summary.annotation_age_ms
    console.print(latency_table(rows))
    rate = summary.shown / summary.seconds if summary.seconds else 0.0
    lines = [
        f"{summary.shown} of {summary.arrived} frames shown in {summary.seconds:.1f} s, "
        f"{rate:.1f} frames/s, {summary.fresh} with fresh findings; "
        f"AI restarted {summary.ai_restarts} times",
        *(f"dropped: {count} by {cause}" for cause, count in summary.drops.items()),
        *(f"note: {note}" for note in summary.notes),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
