"""Runs the rooms of `qlumen live`: several sources that share the network."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console

from qlumen.errors import UsageError
from qlumen.realtime.commands.live import Steering, open_metrics
from qlumen.realtime.config.rooms import Room
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.rooms import Rooms
from qlumen.realtime.live.summary import print_summary
from qlumen.realtime.sources.choose import input_files
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.rooms import open_rooms_page
from qlumen.system.files import write_json
from qlumen.system.output_paths import check_paths


def run_rooms(
    read: Callable[[], list[Room]],
    config: Path | None,
    json_file: Path | None,
    view: bool,
    metrics: int | None,
    seconds: float | None,
) -> int:
    """Run the rooms that `read` reads, and return the exit code.

    Raises:
        QlumenError: settings, the network, or an address cannot be used.
    """
    chosen, console, steering = read(), Console(stderr=True), Steering()
    _check_outputs(chosen, json_file, [config] if config else [])
    page: AbstractContextManager[list[LivePanel]] = (
        open_rooms_page(chosen, console) if view else nullcontext([])
    )
    with (
        steering.handle_signals(),
        open_metrics(metrics, chosen[0].settings) as server,
        page as panels,
        Rooms(chosen, console, panels) as rooms,
    ):
        steering.begin(rooms.stop, lambda: rooms.reload(read))
        for panel, runner in zip(panels, rooms.runners, strict=False):
            panel.judged = runner.share.rate
        if server:
            server.watch_rooms(rooms.runners)
        rooms.run(seconds)
    return _report(rooms, json_file)


def _check_outputs(rooms: Sequence[Room], json_file: Path | None, inputs: list[Path]) -> None:
    outputs = [LiveOutputs(**room.section.outputs()) for room in rooms]
    outputs.append(LiveOutputs(json=json_file))
    for room in rooms:
        inputs = [*inputs, *input_files(room.section.source, room.settings.model.bundle)]
    files = [named for each in outputs for named in each.files()]
    check_paths(inputs, files, [named for each in outputs for named in each.folders()])
    for name, path in files:
        if name.startswith("--record") and path.exists():
            raise UsageError(f"{path} exists; choose another name, or move it away")


def _report(rooms: Rooms, json_file: Path | None) -> int:
    """Print and write the summaries of all rooms; return the exit code."""
    console, rows = Console(), []
    for runner in rooms.runners:
        row = {"room": runner.name, "error": runner.error or "the source never came"}
        if runner.summary:
            console.rule(runner.name)
            print_summary(runner.summary, console)
            row |= runner.summary.as_json()
        rows.append(row)
    if json_file:
        write_json(json_file, {"rooms": rows})
    return int(any(row["error"] for row in rows))
