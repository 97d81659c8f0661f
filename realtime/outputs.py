"""What a replay writes: checked before work starts, opened as sinks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.config import Settings
from qlumen.realtime.errors import UsageError
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.base import SourceInfo

VIDEO_SUFFIXES = (".mp4", ".m4v")


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


def check_outputs(inputs: Sequence[Path], outputs: Outputs) -> None:
    """Raise UsageError for an output that cannot be written or would destroy an input."""
    check_paths(inputs, list(outputs.files()), list(outputs.folders()))
    if outputs.video and outputs.video.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(f"--output {outputs.video} will be an MP4; give it the ending .mp4")


def check_paths(
    inputs: Sequence[Path],
    files: Sequence[tuple[str, Path]],
    folders: Sequence[tuple[str, Path]],
) -> None:
    """Raise UsageError for a file or folder to write that is none, or is an input.

    Files are compared by identity, so links count as what they lead to; a file that
    exists in an input folder is an input, too.

    Args:
        files, folders: each with the name of its option.
    """
    named = [*files, *folders]
    for index, (name, path) in enumerate(named):
        if not path.absolute().parent.is_dir():
            raise UsageError(f"{name} {path}: there is no folder {path.parent}; create it first")
        for given in inputs:
            if _same(path, given) or (given.is_dir() and _lies_in(path, given)):
                raise UsageError(f"{name} {path} is the input itself; choose another name")
        for other, earlier in named[:index]:
            if _same(path, earlier):
                raise UsageError(f"{name} and {other} are both {path}; choose another name")
    for name, path in files:
        if path.is_dir():
            raise UsageError(f"{name} {path} is a folder; give the name of a file")
    for name, path in folders:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{name} {path} is a file; give the name of a folder")


def _same(a: Path, b: Path) -> bool:
    if a.exists() and b.exists():
        special = not (a.is_file() or a.is_dir())
        return not special and a.samefile(b)
    return a.resolve() == b.resolve()


def _lies_in(path: Path, folder: Path) -> bool:
    return path.exists() and path.resolve().parent == folder.resolve()


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

        encoding = settings.recorder.model_dump(include={"crf", "preset", "threads"})
        add("recorder", Recorder(outputs.video, info, **encoding))
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
