"""Runs the rooms of `qlumen live`: several sources that share the network."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from qlumen.errors import UsageError
from qlumen.realtime.config.rooms import Room
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.rooms import Rooms
from qlumen.realtime.live.summary import print_summary
from qlumen.realtime.sources.choose import input_files
from qlumen.system.files import write_json
from qlumen.system.output_paths import check_paths


def outputs_of_rooms(rooms: Sequence[Room], common: LiveOutputs) -> list[LiveOutputs]:
    """Return the outputs of each room, after a check of all paths together.

    A path of `common` gets the room's name: `exam.mp4` becomes `exam-room1.mp4`. A room's own path
    replaces it.

    Raises:
        UsageError: the window or a receiver would be shared, or a path cannot be used.
    """
    shared = (("--monitor", common.monitor), ("--stream", common.stream), ("--send", common.send))
    for option, given in shared:
        if given:
            raise UsageError(
                f"{option} is for one source; rooms have a page (--view), and stream and send in "
                "the list rooms of --config"
            )
    outputs = [_outputs_of(room, common) for room in rooms]
    summary = [("--json", common.json)] if common.json else []
    check_paths(
        [path for room in rooms for path in _inputs(room)],
        [*summary, *(one for each in outputs for one in each.files())],
        [one for each in outputs for one in each.folders()],
    )
    for name, path in (one for each in outputs for one in each.files()):
        if name.startswith("--record") and path.exists():
            raise UsageError(f"{name} {path} exists; choose another name, or move it away")
    return outputs


def _outputs_of(room: Room, common: LiveOutputs) -> LiveOutputs:
    own, name = room.section, room.section.name
    paths = {
        key: getattr(own, key) or (path and path.with_stem(f"{path.stem}-{name}"))
        for key in ("record", "record_clean", "events", "snapshots", "recordings")
        if (path := getattr(common, key)) or getattr(own, key)
    }
    return replace(common, json=None, stream=own.stream, send=own.send, **paths)


def _inputs(room: Room) -> list[Path]:
    return input_files(room.section.source, room.settings.model.bundle)


def report(rooms: Rooms, json_file: Path | None) -> int:
    """Print and write the summaries of all rooms; return the exit code."""
    console = Console()
    code, rows = 0, []
    for runner in rooms.runners:
        error = str(runner.error) if runner.error else None
        if runner.summary:
            console.print(f"{runner.name}: {runner.summary.source}", highlight=False, markup=False)
            print_summary(runner.summary, console)
            error = runner.summary.error
        summary = runner.summary.as_json() if runner.summary else {"error": error}
        rows.append({"room": runner.name, "weight": runner.share.weight, **summary})
        code = code or int(bool(error) or not runner.summary)
    if json_file:
        write_json(json_file, {"rooms": rows})
    return code
