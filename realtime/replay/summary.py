"""Summarises a finished replay, as JSON for machines and as a table for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from qlumen.errors import SinkError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.latency import END_TO_END, LatencyRecorder, LatencySummary, latency_table
from qlumen.realtime.replay.pipeline import Outcome
from qlumen.realtime.sources.base import Source
from qlumen.system.files import write_json


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """Summarises a finished replay.

    Attributes:
        frames_expected: the source's own count or the limit, the smaller one; None without both.
        seconds: time from the first frame's request to the last sink's close; opening and
            compiling come before it.
        fps: frames over seconds.
        end_to_end_ms: time from the decoded frame to its finished overlay.
    """

    source: str
    frames: int
    frames_expected: int | None
    seconds: float
    fps: float
    interrupted: bool
    error: str | None
    stages_ms: dict[str, LatencySummary]
    end_to_end_ms: LatencySummary | None
    drops: dict[str, int]
    notes: list[str]
    engine: dict[str, Any]
    bundle: dict[str, str]
    config_sha256: str

    def write_json(self, path: Path) -> "ReplaySummary":
        """Write it as JSON to `path`. Return it, with the error of writing if it had no error."""
        try:
            write_json(path, asdict(self))
        except SinkError as error:
            return replace(self, error=self.error or str(error))
        return self


def summarise(
    source: Source,
    frames_expected: int | None,
    outcome: Outcome,
    latency: LatencyRecorder,
    *,
    engine: Engine,
    bundle: Bundle,
    settings: Settings,
    sink_notes: Sequence[str] = (),
) -> ReplaySummary:
    """Summarise a finished replay from what its parts report."""
    stages = latency.summary()
    end_to_end = stages.pop(END_TO_END, None)
    return ReplaySummary(
        source=source.info.name,
        frames=outcome.frames,
        frames_expected=frames_expected,
        seconds=round(outcome.seconds, 3),
        fps=round(outcome.frames / outcome.seconds, 3),
        interrupted=outcome.interrupted,
        error=str(outcome.error) if outcome.error else None,
        stages_ms=stages,
        end_to_end_ms=end_to_end,
        drops=dict(source.drops),
        notes=[*source.info.notes, *sink_notes],
        engine=engine.describe(),
        bundle={
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "sha256": bundle.sha256,
        },
        config_sha256=settings.sha256(),
    )


def print_summary(summary: ReplaySummary, console: Console) -> None:
    """Print the latency table, then one line each on frames, drops and notes."""
    end = {"end to end": summary.end_to_end_ms} if summary.end_to_end_ms else {}
    console.print(latency_table(summary.stages_ms | end))
    console.print(
        f"{summary.frames} frames in {summary.seconds:.1f} s, {summary.fps:.1f} frames/s; "
        f"bundle {summary.bundle['name']} {summary.bundle['sha256'][:12]}, "
        f"engine {summary.engine['name']}",
        highlight=False,
        soft_wrap=True,
    )
    for cause, count in summary.drops.items():
        console.print(f"dropped: {count} by {cause}", highlight=False, markup=False, soft_wrap=True)
    for note in summary.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
