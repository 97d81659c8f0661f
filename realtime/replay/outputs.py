"""Checks the outputs of a replay before work starts, and opens them as sinks."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.output_paths import VIDEO_SUFFIXES, check_paths


@dataclass(frozen=True, slots=True)
class Outputs:
    """Names what to write and where; None leaves it out. `snapshots` and `masks` are folders."""

    video: Path | None = None
    events: Path | None = None
    snapshots: Path | None = None
    masks: Path | None = None
    json: Path | None = None


def check_outputs(inputs: Sequence[Path], outputs: Outputs) -> None:
    """Raise UsageError for an output that cannot be written or would destroy an input."""
    files = (("--output", outputs.video), ("--events", outputs.events), ("--json", outputs.json))
    folders = (("--snapshots", outputs.snapshots), ("--masks", outputs.masks))
    named = ([(name, path) for name, path in kind if path] for kind in (files, folders))
    check_paths(inputs, *named)
    if outputs.video and outputs.video.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(f"--output {outputs.video} will be an MP4; give it the ending .mp4")


def open_sinks(
    outputs: Outputs, info: SourceInfo, settings: Settings, stack: ExitStack
) -> list[tuple[str, Sink]]:
    """Open the wanted sinks. `stack` closes each of them if the run does not."""
    sinks: list[tuple[str, Sink]] = []

    def add(name: str, sink: Sink) -> None:
        stack.callback(sink.close)
        sinks.append((name, sink))

    if outputs.video:
        from qlumen.realtime.sinks.recorder import Recorder

        encoding = settings.recorder.model_dump(include={"crf", "preset", "threads"})
        add("recorder", Recorder(outputs.video, info, **encoding))
    if outputs.events:
        from qlumen.realtime.sinks.events import EventsWriter

        add("events", EventsWriter(outputs.events))
    if outputs.snapshots:
        from qlumen.realtime.sinks.images import Snapshots

        add("snapshots", Snapshots(outputs.snapshots, every=settings.snapshots.every))
    if outputs.masks:
        from qlumen.realtime.sinks.images import MaskWriter

        add("masks", MaskWriter(outputs.masks))
    return sinks
