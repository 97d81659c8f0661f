"""What a replay writes: checked before work starts, opened as sinks."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.config import Settings
from qlumen.realtime.errors import UsageError
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.choose import is_local_file


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to write what; None leaves it out. `snapshots` and `masks` are folders."""

    video: Path | None = None
    events: Path | None = None
    snapshots: Path | None = None
    masks: Path | None = None
    json: Path | None = None

    def files(self) -> Iterator[tuple[str, Path]]:
        named = (("--output", self.video), ("--events", self.events), ("--json", self.json))
        yield from ((name, path) for name, path in named if path)

    def folders(self) -> Iterator[tuple[str, Path]]:
        named = (("--snapshots", self.snapshots), ("--masks", self.masks))
        yield from ((name, path) for name, path in named if path)


def check_outputs(location: str, outputs: Outputs) -> None:
    """Raise UsageError for an output that cannot be written or would destroy the input."""
    source = Path(location).resolve() if is_local_file(location) else None
    seen: dict[Path, str] = {}
    for name, path in (*outputs.files(), *outputs.folders()):
        resolved = path.resolve()
        if resolved == source:
            raise UsageError(f"{name} {path} is the input itself; choose another name")
        if resolved in seen:
            raise UsageError(f"{name} and {seen[resolved]} are both {path}; choose another name")
        seen[resolved] = name
        if not resolved.parent.is_dir():
            raise UsageError(f"{name} {path}: there is no folder {path.parent}; create it first")
    for name, path in outputs.files():
        if path.is_dir():
            raise UsageError(f"{name} {path} is a folder; give the name of a file")
    for name, path in outputs.folders():
        if path.exists() and not path.is_dir():
            raise UsageError(f"{name} {path} is a file; give the name of a folder")


def open_sinks(
    outputs: Outputs, info: SourceInfo, settings: Settings, stack: ExitStack
) -> list[tuple[str, Sink]]:
    """Open the wanted sinks, each closed by `stack` if the run does not come to it."""
    sinks: list[tuple[str, Sink]] = []

    def add(name: str, sink: Sink) -> None:
        stack.callback(sink.close)
        sinks.append((name, sink))

    if outputs.video:
        from qlumen.realtime.sinks.recorder import Recorder

        add("recorder", Recorder(outputs.video, info, **settings.recorder.model_dump()))
    if outputs.events:
        from qlumen.realtime.sinks.events import EventsWriter

        add("events", EventsWriter(outputs.events))
    if outputs.snapshots:
        from qlumen.realtime.sinks.snapshots import Snapshots

        add("snapshots", Snapshots(outputs.snapshots, every=settings.snapshots.every))
    if outputs.masks:
        from qlumen.realtime.sinks.masks import MaskWriter

        add("masks", MaskWriter(outputs.masks))
    return sinks
