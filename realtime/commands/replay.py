"""Runs `qlumen replay`: reads a recording, writes the overlay, the events and the latency."""

from pathlib import Path

import click
from rich.console import Console

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.replay.outputs import Outputs, check_outputs
from qlumen.realtime.replay.replay import replay
from qlumen.realtime.replay.summary import print_summary
from qlumen.system.exits import INTERRUPTED
from qlumen.system.output_paths import PATH


@click.command("replay")
@click.argument("source")
@click.option("--output", type=PATH, help="Video with the overlay (H.264 MP4).")
@click.option("--events", type=PATH, help="Findings and times, one JSON line for each frame.")
@click.option("--snapshots", type=PATH, help="Folder for frames with overlay, PNG.")
@click.option("--masks", type=PATH, help="Folder for masks, PNG, 0 and 255.")
@click.option("--json", "json_file", type=PATH, help="Summary with latency percentiles.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--sequence", is_flag=True, help="The folder's images follow each other in time.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after this number of frames.")
def command(
    source: str,
    output: Path | None,
    events: Path | None,
    snapshots: Path | None,
    masks: Path | None,
    json_file: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    sequence: bool,
    limit: int | None,
) -> int:
    """Draw the findings on a recording.

    SOURCE is a video file, a folder of images, a URL or device that FFmpeg opens, or
    `scene`, the built-in synthetic colon.
    """
    overrides += ("source.sequence=true",) if sequence else ()
    settings = load_settings(config, overrides)
    outputs = Outputs(output, events, snapshots, masks, json_file)
    check_outputs([config] if config else [], outputs)
    console = Console(stderr=True)
    summary = replay(source, outputs, settings, limit, console)
    print_summary(summary, Console())
    if summary.error:
        click.echo(f"qlumen: {summary.error}", err=True)
        return 1
    return INTERRUPTED if summary.interrupted else 0
