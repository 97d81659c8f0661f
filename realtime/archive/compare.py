"""Lists where two versions of an archive disagree."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qlumen.realtime.archive.tables import read_table

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
    about = [
        {r["recording"]: r for r in read_table(output, "recordings", v)} for v in (first, second)
    ]
    found = [_times(output, version) for version in (first, second)]
    differences = []
    for key in about[0].keys() & about[1].keys():
        one, other = (times[key] for times in found)
        moments = [
            *_moments({frame: one[frame] for frame in one.keys() - other.keys()}, first),
            *_moments({frame: other[frame] for frame in other.keys() - one.keys()}, second),
        ]
        rows = about[0][key], about[1][key]
        differences.append(
            Difference(
                rows[0]["name"], rows[0]["frames"], len(one.keys() ^ other.keys()),
                (rows[0]["lesions"], rows[1]["lesions"]),
                tuple(sorted(moments, key=lambda moment: (-moment.frames, moment.start_s))),
            )
        )  # fmt: skip
    return sorted(differences, key=lambda one: (-one.differing, one.name))


def _times(output: Path, version: str) -> dict[str, dict[int, float]]:
    """Return the times of all frames with a finding, by recording and number."""
    times: dict[str, dict[int, float]] = defaultdict(dict)
    for row in read_table(output, "findings", version):
        times[row["recording"]][row["frame"]] = row["time_s"]
    return times


def _moments(times: dict[int, float], found_by: str) -> Iterator[Moment]:
    run: list[float] = []
    for time_s in [*sorted(times.values()), float("inf")]:
        if run and time_s - run[-1] > JOIN_S:
            yield Moment(run[0], run[-1], len(run), found_by)
            run = []
        run.append(time_s)
