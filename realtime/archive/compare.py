"""Lists where two versions of an archive disagree."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from qlumen.realtime.archive.tables import read_table, result_path

JOIN_S = 1.0
"""Frames that disagree and are no further apart belong to one moment."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Holds a time in which one version has findings and the other has none."""

    start_s: float
    end_s: float
    frames: int
    found_by: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Holds how two versions disagree on a recording; `moments` begins with the longest."""

    name: str
    frames: int
    differing: int
    lesions: tuple[int, int]
    moments: tuple[Moment, ...]


def compare(output: Path, first: str, second: str) -> list[Difference]:
    """Compare the recordings that both versions judged; return those that differ most first."""
    versions = first, second
    tables = [read_table(output, "recordings", version) for version in versions]
    one, other = ({row["recording"]: row for row in rows} for rows in tables)
    differences = []
    for key in one.keys() & other.keys():
        here, there = (_times(output, version, key) for version in versions)
        moments = [*_moments(here, there, first), *_moments(there, here, second)]
        moments.sort(key=lambda moment: (-moment.frames, moment.start_s))
        name, frames = one[key]["name"], one[key]["frames"]
        differing = sum(moment.frames for moment in moments)
        lesions = one[key]["lesions"], other[key]["lesions"]
        differences.append(Difference(name, frames, differing, lesions, tuple(moments)))
    return sorted(differences, key=lambda one: (-one.differing, one.name))


def _times(output: Path, version: str, recording: str) -> dict[int, float]:
    """Return the times of a recording's frames with a finding, by their numbers."""
    path = result_path(output, "findings", version, recording)
    table = pq.ParquetFile(path).read(columns=["frame", "time_s"])
    return dict(zip(table["frame"].to_pylist(), table["time_s"].to_pylist(), strict=True))


def _moments(here: dict[int, float], there: dict[int, float], found_by: str) -> Iterator[Moment]:
    run: list[float] = []
    for time_s in [*sorted(here[frame] for frame in here.keys() - there.keys()), math.inf]:
        if run and time_s - run[-1] > JOIN_S:
            yield Moment(run[0], run[-1], len(run), found_by)
            run = []
        run.append(time_s)
