"""Reports what a live session does at one moment, for the page, Prometheus and the summary."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.frames import AiState
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.live.counters import LiveCounters
from qlumen.realtime.live.outputs import LiveSinks
from qlumen.realtime.live.watchdog import ModelState, Watchdog
from qlumen.realtime.sources.base import LiveSource

STILL_SECONDS = 5.0
"""After this time without a frame handed out, the session is not healthy."""


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Holds a snapshot of a live session.

    Attributes:
        source: name of the source.
        arrived, shown: frames from the source, and frames handed to every sink.
        states: shown frames by the state of the AI.
        fresh: frames shown with findings of their own or of the frame before.
        no_signal: frames shown again while the source delivered nothing.
        signal: whether the last shown frame came from the source.
        still_s: seconds since the last frame was handed out.
        silences, losses, failed_reopens, reconnects: see `LiveCounters`.
        late_source, damaged: frames that a played source made too late, and with missing data.
        drops: frames lost by cause, including causes without a loss; `model_busy` counts frames
            that were shown, but not seen by the AI.
        written, attached: frames that a sink got, and whether it works, by sink.
        recordings: files that are being written, by sink.
        can_record, can_snapshot: whether a folder for recordings or snapshots was given.
        engine: description of the engine that runs the network.
        missed_deadlines: frames that took the network longer than `watchdog.deadline_ms`.
        notes: a line on each thing that source and sinks changed or left out.
    """

    source: str
    arrived: int
    shown: int
    states: Mapping[AiState, int]
    fresh: int
    no_signal: int
    signal: bool
    still_s: float
    silences: int
    losses: int
    failed_reopens: int
    reconnects: int
    late_source: int
    damaged: int
    drops: Mapping[str, int]
    written: Mapping[str, int]
    attached: Mapping[str, bool]
    recording: bool
    recordings: Mapping[str, Path]
    can_record: bool
    can_snapshot: bool
    ai: ModelState
    ai_restarts: int
    missed_deadlines: int
    engine: Mapping[str, object]
    notes: tuple[str, ...]

    @property
    def lost(self) -> dict[str, int]:
        """Return the lost frames by cause, without causes that lost no frame."""
        return {cause: count for cause, count in self.drops.items() if count}

    @property
    def detached(self) -> list[str]:
        """Return the names of the sinks that no longer work."""
        return [name for name, attached in self.attached.items() if not attached]

    def health(self) -> list[str]:
        """Return the faults of the video itself."""
        still = self.still_s > STILL_SECONDS
        return [f"no frame for {self.still_s:.1f} s"] if still else []

    def readiness(self) -> list[str]:
        """Return the faults of the video, the AI and all sinks."""
        found = self.health()
        if not self.signal:
            found.append("no signal from the source")
        if self.ai is not ModelState.RUNNING:
            found.append(f"the AI is {self.ai.value}")
        return [*found, *(f"{name} is detached" for name in self.detached)]


class StatusReader:
    """Reads the status from the parts of a session; the display reads two facts for each frame."""

    def __init__(
        self, source: LiveSource, counters: LiveCounters, sinks: LiveSinks, watchdog: Watchdog
    ) -> None:
        self._source, self._counters = source, counters
        self._sinks, self._watchdog = sinks, watchdog

    @property
    def ai_runs(self) -> bool:
        return self._watchdog.running

    @property
    def recording(self) -> bool:
        return self._sinks.recording

    def __call__(self) -> LiveStatus:
        """Take a snapshot. Any thread may call it."""
        source, counters = self._source, self._counters
        sinks, watchdog = self._sinks, self._watchdog
        stages = sinks.stages()
        drops: Counter[str] = Counter()
        for counted in (source.drops, counters.drops, *(stage.drops for stage in stages)):
            drops.update(counted.copy())  # other threads may add causes
        return LiveStatus(
            source=source.info.name,
            arrived=counters.arrived,
            shown=counters.shown,
            states={state: counters.states[state] for state in AiState},
            fresh=counters.fresh,
            no_signal=counters.no_signal,
            signal=counters.signal,
            still_s=(time.monotonic_ns() - counters.last_ns) / NS_PER_S,
            silences=counters.silences,
            losses=counters.losses,
            failed_reopens=counters.failed_reopens,
            reconnects=counters.reconnects,
            late_source=source.late,
            damaged=source.damaged,
            drops=drops,
            written={stage.name: stage.written for stage in stages},
            attached={stage.name: stage.attached for stage in stages},
            recording=sinks.recording,
            recordings=sinks.recordings(),
            can_record=sinks.recorder is not None,
            can_snapshot=sinks.snapshot is not None,
            ai=watchdog.state,
            ai_restarts=watchdog.restarts,
            missed_deadlines=watchdog.missed_deadlines,
            engine=watchdog.engine,
            notes=(*source.info.notes, *(note for stage in stages for note in stage.notes)),
        )
