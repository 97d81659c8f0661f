"""Runs `qlumen evaluate --video`."""

from pathlib import Path
from typing import Any

from rich.console import Console

from qlumen.datasets.groups import read_origins
from qlumen.datasets.splits import NEGATIVES_SCORE, lesion_free_files, split_names
from qlumen.errors import DatasetError, UsageError
from qlumen.evaluation.open_run import open_run
from qlumen.evaluation.video.froc import MINUTES, operating_points, score_rows
from qlumen.evaluation.video.printing import print_video
from qlumen.evaluation.video.videos import Video, pan_videos, scene_videos
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder


def score_alarms(
    data: Path | None, minutes: float | None, settings: Settings, console: Console
) -> dict[str, Any]:
    """Score the alarms of all rows of videos, print tables, and return the content of `--json`.

    Raises:
        UsageError: the settings turn tracks off
        DatasetError: the data folder has no list `negatives_score`, or cannot be read
    """
    if not settings.analysis.temporal:
        raise UsageError(
            "--video counts alarms, and analysis.temporal=false has none; leave it out"
        )
    rows = rows_of_videos(data, minutes)
    points = operating_points(read_bundle(bundle_folder(settings)), settings)
    total = sum(video.frame_count for videos in rows.values() for video in videos)
    with open_run(settings, total, "frames", related=True) as run:
        done = iter(range(1, total + 1))
        segmenter = run.analysis.segmenter
        table = score_rows(rows, segmenter, points, settings, lambda: run.show(next(done)))
    print_video(table, console)
    return {**run.about, "rows": table}


def rows_of_videos(data: Path | None, minutes: float | None) -> dict[str, list[Video]]:
    """Return the videos of each row. Without a data folder there are no moved images.

    Args:
        minutes: longest length of a row

    Raises:
        DatasetError: the data folder has no list `negatives_score`, or cannot be read
    """
    length = {row: min(most, minutes or most) for row, most in MINUTES.items()}
    rows = {"scene": scene_videos(length["scene"], polyps=False)}
    if data:
        files = lesion_free_files(data, NEGATIVES_SCORE)
        if not files:
            raise DatasetError(f"{data} has no list splits/{NEGATIVES_SCORE}.txt of images to move")
        for file in files:
            if not file.is_file():
                raise DatasetError(f"splits/{NEGATIVES_SCORE}.txt names {file}, which is missing")
        origins = read_origins(data, split_names(data, NEGATIVES_SCORE))
        clusters = [origin.cluster for origin in origins]
        rows["panned"] = pan_videos(files, clusters, length["panned"])
    rows["polyps"] = scene_videos(length["polyps"], polyps=True)
    return rows
