"""Runs `qlumen calibrate alarms`, which measures the alarms at each position of the dial."""

import shutil
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qlumen.evaluation.model_card import write_records
from qlumen.evaluation.video.run import score_alarms
from qlumen.networks.bundle import AlarmRecord, check_replaceable, find_bundle, read_bundle
from qlumen.realtime.config.settings import load_settings
from qlumen.system.files import replacing
from qlumen.system.output_paths import PATH


@click.command("alarms")
@click.option("--bundle", "folder", type=PATH, help="Bundle folder; default: the shipped one.")
@click.option("--data", type=PATH, required=True, help="Folder with images and splits/.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="Longest length of each kind of video; default: an hour in all.")  # fmt: skip
def alarms(folder: Path | None, data: Path, minutes: float | None) -> None:
    """Measure false alarms and polyps found at each position of the dial, and write them.

    The videos are those of `qlumen evaluate --video`. The page shows the figures beside the dial.
    """
    folder = folder or find_bundle()
    bundle = read_bundle(folder)
    check_replaceable(folder)
    console = Console()
    settings = load_settings(None, [f"model.bundle={folder}"])
    rows = score_alarms(data, minutes, settings, console)["rows"]
    with replacing(folder) as part:
        shutil.copytree(folder, part)
        write_records(part, bundle.manifest.model_copy(update={"alarms": record_alarms(rows)}))
    console.print(f"wrote {folder}", highlight=False)


def record_alarms(rows: dict[str, Any]) -> dict[int, AlarmRecord]:
    """Turn the rows of `score_alarms` into a record for each position."""
    return {
        point["position"]: AlarmRecord(
            high=point["high"],
            false_per_minute={
                row: round(same["false_per_minute"], 3)
                for row, points in rows.items()
                for same in points
                if same["position"] == point["position"] and same["false_per_minute"] is not None
            },
            found_in_3_s=round(point["found_in_3_s"] or 0.0, 3),
        )
        for point in rows["polyps"]
        if point["position"]
    }
