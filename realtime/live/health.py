"""The parts of a live session that count, and whether it is well."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.outputs import LiveOutputs, Outlets
from qlumen.realtime.live.pipeline import LivePipeline
from qlumen.realtime.live.watchdog import Watchdog
from qlumen.realtime.sources.live_base import LiveSource

STILL_SECONDS = 5.0
"""Without a picture handed out for so long, the session is not well."""
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meters:
    """Attributes:
    files: what is recorded from the start, by output.
    """

    source: LiveSource
    pipeline: LivePipeline
    latency: LatencyRecorder
    outlets: Outlets
    watchdog: Watchdog
    files: Mapping[str, Path]

    def health(self) -> list[str]:
        """What is wrong with the video itself, if anything."""
        since_s = (time.monotonic_ns() - self.pipeline.tally.last_ns) / NS_PER_S
        return [f"no picture for {since_s:.1f} s"] if since_s > STILL_SECONDS else []

    def readiness(self) -> list[str]:
        """What of that which was asked for does not work, if anything."""
        found = self.health()
        if not self.pipeline.tally.signal:
            found.append("no signal from the source")
        if not self.watchdog.running:
            found.append(f"the AI is {self.watchdog.state.value}")
        lost = (each.name for each in self.outlets.everything() if not each.attached)
        return [*found, *(f"{name} is detached" for name in lost)]

    def recordings(self) -> dict[str, Path]:
        """What is being written now, by output: a recording begun on request comes and goes."""
        requested = self.outlets.recorder.path if self.outlets.recorder else None
        return dict(self.files) | ({"recorder_on_request": requested} if requested else {})


def recorded_files(outputs: LiveOutputs) -> dict[str, Path]:
    """Recordings by the name of their output."""
    named = {"recorder": outputs.record, "clean_recorder": outputs.record_clean}
    return {name: path for name, path in named.items() if path}
