"""Makes recordings for archives, runs `qlumen archive`, and reads what it wrote by DuckDB."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb

from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.media import write_video

CODE = "import sys; from qlumen.realtime.cli import main; main()"
HOW = "worker, took_s"
"""Columns of `recordings` that differ from run to run."""


def archive_command(*words: object) -> list[str]:
    return [sys.executable, "-c", CODE, "archive", *map(str, words)]


def run_archive(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(archive_command(*words), capture_output=True, text=True, timeout=300)


def make_recordings(folder: Path, frames: dict[str, int]) -> None:
    """Write videos of the scene, each of its own colon, by name and number of frames."""
    folder.mkdir()
    for seed, (name, count) in enumerate(frames.items()):
        scene = SceneSource(SceneSettings(320, 240, Fraction(25), count, seed))
        write_video(folder / name, [frame.image for frame in scene.frames()])


def rows(output: Path, table: str) -> list[tuple[Any, ...]]:
    """Return all rows of all versions, without what differs from run to run."""
    columns = f"* EXCLUDE ({HOW})" if table == "recordings" else "*"
    files = output / table / "*" / "*.parquet"
    query = f"SELECT {columns} FROM read_parquet('{files}', hive_partitioning = true) ORDER BY ALL"
    return duckdb.sql(query).fetchall()


def all_rows(output: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(output, table) for table in ("findings", "lesions", "recordings")}
